// The program ionian-guardian. Started by a caller with its socket as descriptor 3; not for people.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "exec/guardian.hpp"
#include "exec/process.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("ionian-guardian " IONIAN_VERSION);
    return 0;
  }
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(3, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
    std::fputs(
        "ionian-guardian: descriptor 3 is not a socket.\n"
        "This program is started by ionian itself: it holds the GPU leases of one run and cleans "
        "up\n"
        "after it. There is nothing to start by hand; `ionian run script.py` does it.\n",
        stderr);
    return 2;
  }
  try {
    ::fcntl(3, F_SETFD, FD_CLOEXEC);
    ionian::process::raise_file_limit();
    {
      ionian::Guardian guardian{ionian::UniqueFd(3)};
      guardian.run();
    }
    // A thread of ours may be in the driver's library, whose clean-up must then not run.
    if (ionian::XidWatch::threads_left()) ::_exit(0);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ionian-guardian: %s\n", error.what());
    return 1;
  }
}
