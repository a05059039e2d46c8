#include "mpimerge/app/program.hpp"

#include <csignal>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <variant>

#include <fmt/format.h>
#include <mpi.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/log.hpp"
#include "mpimerge/comm/abort.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/comm/environment.hpp"
#include "mpimerge/comm/error.hpp"
#include "mpimerge/hdf5/library.hpp"

#include "app/cli.hpp"
#include "app/commands/commands.hpp"
#include "app/same_command.hpp"
#include "app/standard_streams.hpp"

namespace mpimerge::app {
namespace {

template <class... Handlers>
struct Overload : Handlers... {
  using Handlers::operator()...;
};
template <class... Handlers>
Overload(Handlers...) -> Overload<Handlers...>;  // clang before 17 does not deduce it

int run(const comm::Comm& world, int argc, char** argv) {
  Command command;
  comm::collectively(world, "command line", [&] { command = parse_command_line(argc, argv); });
  agree_on_command_line(world, argc, argv);
  base::start_log(world.rank(), world.ranks(), command.verbosity);
  if (!command.log_directory.empty()) {
    comm::collectively(world, "log", [&] {
      base::add_log_file(command.log_directory, world.rank(), world.ranks());
    });
  }
  return std::visit(
      Overload{[&](const Message& message) {
                 comm::collectively(world, "print", [&] {
                   if (world.is_root()) print_result(message.text);
                 });
                 return 0;
               },
               [&](const MergeOptions& options) {
                 // Who reads the log may go away (`| head`); a merge of hours goes on.
                 std::signal(SIGPIPE, SIG_IGN);
                 return run_merge(world, options, command.verbosity);
               },
               [&](const PlanOptions& options) { return run_plan(world, options); },
               [&](const InspectOptions& options) { return run_inspect(world, options); },
               [&](const VerifyOptions& options) { return run_verify(world, options); },
               [&](const DiffOptions& options) { return run_diff(world, options); },
               [&](const CompareOptions& options) {
                 return run_compare(world, options, command.verbosity);
               },
               [&](const ConvertOptions& options) {
                 std::signal(SIGPIPE, SIG_IGN);
                 return run_convert(world, options, command.verbosity);
               },
               [&](const ReportOptions& options) {
                 std::signal(SIGPIPE, SIG_IGN);
                 return run_report(world, options, command.verbosity);
               }},
      command.what);
}

// A job file's faults come as several lines, every other error as one.
void print_error(const std::string& message) {
  std::istringstream lines(message);
  for (std::string line; std::getline(lines, line);)
    std::fputs(fmt::format("mpimerge: error: {}\n", line).c_str(), stderr);
}

// What every rank knows of ends normally, with one code; what one rank is alone with ends the job.
int guarded(const comm::Comm& world, int argc, char** argv) {
  try {
    return run(world, argc, argv);
  } catch (const base::Error& error) {
    const bool shared =
        error.kind() == base::ErrorKind::usage || dynamic_cast<const comm::AgreedError*>(&error);
    if (!shared) comm::abort_job(world, error.kind(), error.what());
    if (world.is_root()) print_error(error.what());
    return base::exit_code(error.kind());
  } catch (const std::exception& error) {
    comm::abort_job(world, base::ErrorKind::bug, error.what());
  }
}

}  // namespace

int run_program(int argc, char** argv) {
  open_standard_streams();
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit (ulimit -f) is then an error of the write, not a kill
  hdf5::start_library();
  const comm::Environment environment(argc, argv);
  comm::Comm world = comm::Comm::duplicate(MPI_COMM_WORLD);
  if (environment.overruled_ompio() && world.is_root()) {
    base::log().warn(
        "OMPI_MCA_io asks for OMPIO, which loses data on a full disk; ROMIO is used instead");
  }
  const int code = guarded(world, argc, argv);
  world.close();
  return code;
}

}  // namespace mpimerge::app
