#include "comm/call_fields.hpp"

#include <algorithm>

namespace ionian::shared_memory {

using Kind = CommCall::Kind;

CommCall described(const CallFields& fields) {
  CommCall call;
  call.kind = static_cast<Kind>(std::min<int>(fields.kind, static_cast<int>(Kind::kBarrier)));
  call.op = static_cast<ReduceOp>(std::min<int>(fields.op, static_cast<int>(ReduceOp::kAvg)));
  call.peer = fields.peer;
  const auto dtype = static_cast<DType>(std::min<int>(fields.dtype, int{kDTypes} - 1));
  call.in = call.out = Array(nullptr, dtype, {fields.elements});
  return call;
}

CallFields fields_of(const CommCall& call, std::uint64_t sequence) {
  CallFields fields;
  fields.sequence = sequence;
  fields.elements = call.in.size();
  fields.peer = call.peer;
  fields.kind = static_cast<std::uint8_t>(call.kind);
  fields.op = static_cast<std::uint8_t>(call.op);
  fields.dtype = static_cast<std::uint8_t>(call.in.dtype);
  return fields;
}

bool same(const CallFields& a, const CallFields& b) {
  return a.elements == b.elements && a.peer == b.peer && a.kind == b.kind && a.op == b.op &&
         a.dtype == b.dtype;
}

}  // namespace ionian::shared_memory
