#include "mpimerge/comm/error.hpp"

#include <atomic>

#include <fmt/format.h>
#include <mpi.h>

namespace mpimerge::comm {
namespace {

std::atomic<int> agreed_errors = 0;

}  // namespace

AgreedError::AgreedError(base::ErrorKind kind, const std::string& message) : Error(kind, message) {
  ++agreed_errors;
}

AgreedError::AgreedError(const AgreedError& other) noexcept : Error(other) { ++agreed_errors; }

AgreedError::~AgreedError() { --agreed_errors; }

bool AgreedError::exists() noexcept { return agreed_errors > 0; }

void check(int status, std::source_location where) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING + 1] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw MpiError(fmt::format("MPI failed in {} ({}:{}): {}", where.function_name(),
                             where.file_name(), where.line(), text));
}

}  // namespace mpimerge::comm
