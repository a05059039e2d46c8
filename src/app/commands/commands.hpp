#pragma once

#include "mpimerge/base/log.hpp"
#include "mpimerge/comm/comm.hpp"

#include "app/cli.hpp"

namespace mpimerge::app {

/// Collective over `comm`. Each runs one command and returns the exit code, equal on all ranks.
/// Errors: AgreedError.
int run_merge(const comm::Comm& comm, const MergeOptions& options, base::Verbosity verbosity);
int run_plan(const comm::Comm& comm, const PlanOptions& options);
int run_inspect(const comm::Comm& comm, const InspectOptions& options);
int run_verify(const comm::Comm& comm, const VerifyOptions& options);
int run_diff(const comm::Comm& comm, const DiffOptions& options);
int run_compare(const comm::Comm& comm, const CompareOptions& options, base::Verbosity verbosity);
int run_convert(const comm::Comm& comm, const ConvertOptions& options, base::Verbosity verbosity);
int run_report(const comm::Comm& comm, const ReportOptions& options, base::Verbosity verbosity);

}  // namespace mpimerge::app
