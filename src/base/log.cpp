#include "mpimerge/base/log.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "mpimerge/base/error.hpp"

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

void add_log_file(const std::string& directory, int rank, int ranks) {
  const std::size_t digits = std::to_string(ranks - 1).size();
  const std::string path = fmt::format("{}/rank-{:0{}}.log", directory, rank, digits);
  spdlog::logger& logger = log();
  const spdlog::level::level_enum level = logger.level();
  // Opening would wait for who reads a FIFO, and would write into what a link leads to.
  std::error_code ignored;
  const auto kind = std::filesystem::symlink_status(path, ignored).type();
  if (kind != std::filesystem::file_type::not_found &&
      kind != std::filesystem::file_type::regular) {
    throw Error(ErrorKind::output,
                fmt::format("{}: is a directory, a link, a device or the like; expected a file, or "
                            "none (--log-dir)",
                            path));
  }
  try {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_st>(path);
    file->set_pattern("[%Y-%m-%d %H:%M:%S.%e] %l: %v");
    // What the terminal shows stays as it is.
    for (const spdlog::sink_ptr& sink : logger.sinks()) sink->set_level(level);
    logger.sinks().push_back(std::move(file));
  } catch (const spdlog::spdlog_ex& error) {
    throw Error(ErrorKind::output,
                fmt::format("{}: cannot be written (--log-dir): {}", path, error.what()));
  }
  logger.set_level(spdlog::level::debug);
  logger.flush_on(spdlog::level::debug);
}

}  // namespace mpimerge::base
