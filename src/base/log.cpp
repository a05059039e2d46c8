#include "mpimerge/base/log.hpp"

#include <memory>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace mpimerge::base {
namespace {

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>("mpimerge",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("mpimerge: %l: %v");
  logger->set_level(spdlog::level::warn);
  return logger;
}

}  // namespace

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = make_logger();
  return *logger;
}

void start_log(int rank, int ranks, Verbosity verbosity) {
  if (rank != 0) {
    log().set_pattern(fmt::format("mpimerge: [{}/{}] %l: %v", rank, ranks));
    log().set_level(spdlog::level::warn);
    return;
  }
  log().set_pattern(verbosity == Verbosity::verbose ? "[%H:%M:%S.%e] %l: %v" : "[%H:%M:%S] %l: %v");
  log().set_level(verbosity == Verbosity::quiet    ? spdlog::level::warn
                  : verbosity == Verbosity::normal ? spdlog::level::info
                                                   : spdlog::level::debug);
}

}  // namespace mpimerge::base
