// dynamic_library.hpp: a vendor library found at run time, or the reason why it was not.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ionian {

/// A library opened with dlopen. Never unloaded: driver libraries keep threads and handlers that
/// outlive any handle of ours. Cheap to copy.
class DynamicLibrary {
 public:
  /// Tries, in order: the path in environment variable `override_variable` (and nothing else if it
  /// is set), a copy that the process has loaded already, then every name of `candidates` through
  /// the loader. Never searches the current directory: candidates must be bare names or absolute
  /// paths. Returns an object whose `reason()` says what was tried if nothing could be opened.
  static DynamicLibrary open(const char* override_variable,
                             const std::vector<std::string>& candidates);

  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }
  /// Returns the path of the file that was loaded, "" if none.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Returns why nothing was loaded, "" if something was.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  /// Returns the address of `name`, nullptr if the library lacks it or was not loaded.
  [[nodiscard]] void* symbol(const char* name) const noexcept;

  template <class Function>
  [[nodiscard]] Function* function(const char* name) const noexcept {
    return reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* handle_ = nullptr;
  std::string path_;
  std::string reason_;
};

}  // namespace ionian
