#include "base/dynamic_library.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>

namespace ionian {
namespace {

std::string loaded_path(void* handle) {
  link_map* map = nullptr;
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) return "";
  return map->l_name;
}

}  // namespace

DynamicLibrary DynamicLibrary::open(const char* override_variable,
                                    const std::vector<std::string>& candidates) {
  DynamicLibrary library;
  const auto attempt = [&library](const std::string& name, int mode) {
    library.handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | mode);
    if (library.handle_ == nullptr) return false;
    library.path_ = loaded_path(library.handle_);
    library.reason_.clear();
    return true;
  };
  const char* chosen = std::getenv(override_variable);
  if (chosen != nullptr && *chosen != '\0') {
    if (*chosen != '/') {
      library.reason_ = std::string(override_variable) + "=" + chosen + " is not an absolute path";
    } else if (!attempt(chosen, 0)) {
      library.reason_ = std::string(override_variable) + ": " + ::dlerror();
    }
    return library;
  }
  for (const auto& name : candidates) {
    if (attempt(name, RTLD_NOLOAD)) return library;
  }
  for (const auto& name : candidates) {
    if (attempt(name, 0)) return library;
    if (!library.reason_.empty()) library.reason_ += "; ";
    const char* error = ::dlerror();
    library.reason_ += error != nullptr ? error : name + ": not found";
  }
  return library;
}

void* DynamicLibrary::symbol(const char* name) const noexcept {
  return handle_ == nullptr ? nullptr : ::dlsym(handle_, name);
}

}  // namespace ionian
