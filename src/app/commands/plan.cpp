#include <algorithm>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/job/sweep.hpp"

#include "app/commands/commands.hpp"
#include "app/forecast.hpp"
#include "app/memory.hpp"
#include "app/output_names.hpp"
#include "app/standard_streams.hpp"
#include "app/work.hpp"

namespace mpimerge::app {
namespace {

/// What a rank may use for data, and where that is known from.
struct Budget {
  base::Bytes bytes;
  std::string assumed;  ///< empty: the user said it
};

// Nobody knows the compute nodes from here, so they are taken to be like this one.
Budget choose_budget(const std::optional<base::Bytes>& given, base::Bytes of_node,
                     const PlanOptions& options) {
  if (given) return {*given, {}};
  const std::uint64_t cores = std::max(std::thread::hardware_concurrency(), 1U);
  const std::uint64_t sharing = std::min(options.ranks_per_node.value_or(cores), options.ranks);
  const char* why = options.ranks_per_node ? "--ranks-per-node" : "one per core";
  return {base::Bytes{std::max(of_node.value() / sharing, std::uint64_t{1})},
          fmt::format("nodes like this one, {} of memory for data, {} ranks on each ({}); "
                      "--memory says otherwise",
                      base::human_bytes(of_node), sharing, why)};
}

/// All that is printed.
struct Account {
  const job::Job& job;
  const job::Sweep& sweep;
  const plan::Plan& plan;
  const PlanOptions& options;
  const Budget& budget;
  const Forecast& forecast;
  std::optional<std::uint64_t> smallest_resident_ranks;

  [[nodiscard]] std::uint64_t outputs() const {
    if (job.writes_nothing) return 0;
    return std::max(job.outputs.size(), std::size_t{1}) * sweep.points.size();
  }
  /// The files, as the job names them.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (std::size_t point = 0; point < sweep.points.size(); ++point) {
      for (const std::string& output : job.outputs)
        names.push_back(with_label(output, sweep.label(point)));
    }
    return names;
  }
  [[nodiscard]] base::Bytes written(const plan::Traffic& traffic) const {
    return base::Bytes{traffic.written.value() * outputs()};
  }
  [[nodiscard]] bool streams() const {
    return forecast.twice && forecast.all.resident < forecast.all.keepable;
  }
  /// Times that inputs are read which do not stay in memory; 1 where all do.
  [[nodiscard]] std::uint64_t passes() const { return streams() ? 1 + forecast.looks : 1; }
  [[nodiscard]] double seconds() const {
    const base::Bytes moved =
        forecast.all.sample + forecast.all.select + forecast.all.merge + written(forecast.all);
    return static_cast<double>(moved.value()) / static_cast<double>(options.bandwidth->value());
  }
};

base::Bytes read_bytes(const plan::Traffic& traffic) {
  return traffic.sample + traffic.select + traffic.merge;
}

nlohmann::ordered_json traffic_json(const Account& account, const plan::Traffic& traffic) {
  return {{"read_bytes",
           {{"sample", (traffic.sample - traffic.guess).value()},
            {"select", traffic.select.value()},
            {"guess", traffic.guess.value()},
            {"merge", traffic.merge.value()},
            {"total", read_bytes(traffic).value()}}},
          {"written_bytes", account.written(traffic).value()},
          {"resident_bytes", traffic.resident.value()},
          {"resident_blocks", traffic.resident_blocks},
          {"blocks", traffic.keepable_blocks}};
}

std::string as_json(const Account& account) {
  const Forecast& forecast = account.forecast;
  nlohmann::ordered_json all{
      {"ranks", account.plan.ranks},
      {"parameters", account.plan.merged.value()},
      {"tensors", plan::output_tensors(account.plan)},
      {"tasks", account.job.tasks.size()},
      {"memory_budget_bytes", account.budget.bytes.value()},
      {"memory_budget_assumed", nullptr},
      {"memory_per_rank_bytes", forecast.memory.value()},
      {"mode", plan::name(plan::residency(forecast.all))},
      {"resident_bytes_per_rank", forecast.largest.resident.value()},
      {"resident_budget_bytes", forecast.budget_to_stay.value()},
      {"smallest_resident_ranks", nullptr},
      {"passes", account.passes()},
      {"per_rank", traffic_json(account, forecast.largest)},
      {"all", traffic_json(account, forecast.all)},
      {"allreduce",
       {{"calls", forecast.allreduce_calls}, {"bytes_per_rank", forecast.allreduce_bytes.value()}}},
      {"outputs", account.outputs()},
      {"points", account.sweep.points.size()},
      {"output_files", account.names()},
      {"output_bytes", account.outputs() == 0 ? 0 : forecast.output_file.value()}};
  all["per_rank"]["rank"] = forecast.largest_rank;
  if (!account.budget.assumed.empty()) all["memory_budget_assumed"] = account.budget.assumed;
  if (account.smallest_resident_ranks)
    all["smallest_resident_ranks"] = *account.smallest_resident_ranks;
  if (account.options.ranks_per_node) {
    const std::uint64_t on_a_node = std::min(*account.options.ranks_per_node, account.plan.ranks);
    all["nodes"] = (account.plan.ranks + on_a_node - 1) / on_a_node;
    all["memory_per_node_bytes"] = forecast.memory.value() * on_a_node;
  }
  if (account.options.bandwidth) {
    all["bandwidth_bytes_per_second"] = account.options.bandwidth->value();
    all["seconds"] = account.seconds();
  }
  return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string mode_line(const Account& account) {
  const Forecast& forecast = account.forecast;
  if (!forecast.twice) return "streaming: one pass, inputs are read once";
  constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;
  const std::string to_stay = fmt::format("--memory {}MiB would keep all",
                                          (forecast.budget_to_stay.value() + kMebi - 1) / kMebi);
  const std::uint64_t passes = account.passes();
  const std::string times = passes == 2 ? "twice" : fmt::format("{} times", passes);
  switch (plan::residency(forecast.all)) {
    case plan::Residency::resident: return "resident: inputs stay in memory and are read once";
    case plan::Residency::partly:
      return fmt::format("partly resident: {} per rank stay in memory, the rest is read {}; {}",
                         base::human_bytes(forecast.largest.resident), times, to_stay);
    case plan::Residency::streaming:
      return fmt::format("streaming: inputs are read {}; {}", times, to_stay);
  }
  return {};
}

std::string smallest_line(const Account& account) {
  if (!account.forecast.twice) return "nothing has to: one pass is enough";
  if (!account.smallest_resident_ranks)
    return fmt::format("not with this memory, up to {} ranks", kMostRanks);
  if (*account.smallest_resident_ranks == 1) return "from 1 rank on, with this memory";
  return fmt::format("from {} ranks on, with this memory", *account.smallest_resident_ranks);
}

std::string as_table(const Account& account) {
  const Forecast& forecast = account.forecast;
  std::string text = fmt::format("merge      {} parameters in {} tensors, {} tasks, {} ranks\n",
                                 account.plan.merged.value(), plan::output_tensors(account.plan),
                                 account.job.tasks.size(), account.plan.ranks);
  if (account.sweep.is_sweep()) {
    text += fmt::format("sweep      {} points: {}\n", account.sweep.points.size(),
                        fmt::join(account.sweep.keys, " x "));
  }
  text += fmt::format("budget     {} for data per rank\n", base::human_bytes(account.budget.bytes));
  if (!account.budget.assumed.empty())
    text += fmt::format("           assumed: {}\n", account.budget.assumed);
  text += fmt::format("memory     {} per rank, the process and all\n",
                      base::human_bytes(forecast.memory));
  if (account.options.ranks_per_node) {
    const std::uint64_t on_a_node = std::min(*account.options.ranks_per_node, account.plan.ranks);
    text +=
        fmt::format("node       {} with {} ranks\n",
                    base::human_bytes(base::Bytes{forecast.memory.value() * on_a_node}), on_a_node);
  }
  text += fmt::format("mode       {}\n", mode_line(account));
  text += fmt::format("resident   {}\n\n", smallest_line(account));
  text += fmt::format("{:<9}  {:>11}  {:>11}\n", "bytes",
                      fmt::format("rank {}", forecast.largest_rank), "all ranks");
  const auto row = [&](const char* name, base::Bytes rank, base::Bytes all) {
    text += fmt::format("{:<9}  {:>11}  {:>11}\n", name, base::human_bytes(rank),
                        base::human_bytes(all));
  };
  const plan::Traffic& rank = forecast.largest;
  const plan::Traffic& all = forecast.all;
  row("sample", rank.sample - rank.guess, all.sample - all.guess);
  row("select", rank.select, all.select);
  row("guess", rank.guess, all.guess);
  row("merge", rank.merge, all.merge);
  row("read", read_bytes(rank), read_bytes(all));
  row("written", account.written(rank), account.written(all));
  text += fmt::format("\nallreduce  {} calls, {} per rank\n", forecast.allreduce_calls,
                      base::human_bytes(forecast.allreduce_bytes));
  const std::string each =
      account.outputs() > 1 ? fmt::format(" in each of {} files", account.outputs()) : "";
  text += account.outputs() == 0 ? "output     none\n"
                                 : fmt::format("output     about {}{}, parameters and metadata\n",
                                               base::human_bytes(forecast.output_file), each);
  if (account.options.bandwidth) {
    text += fmt::format("time       {:.3g} s to read and write at {}/s\n", account.seconds(),
                        base::human_bytes(*account.options.bandwidth));
  }
  return text;
}

void refuse_several_ranks(const comm::Comm& comm) {
  if (comm.ranks() == 1) return;
  throw base::Error(base::ErrorKind::usage,
                    fmt::format("plan runs as one rank, without a launcher, and was started on {}; "
                                "`--ranks` says how many ranks to plan for",
                                comm.ranks()));
}

}  // namespace

int run_plan(const comm::Comm& comm, const PlanOptions& options) {
  refuse_several_ranks(comm);
  const Budget budget = choose_budget(options.merge.memory, default_memory(comm), options);
  comm::collectively(comm, "plan", [&] {
    const job::Sweep sweep = job::parse_sweep_file(options.merge.job, options.merge.overrides);
    const Models models = open_models(sweep.job);
    const base::Bytes chunk = chunk_of(options.merge, sweep);
    const plan::Plan laid_out = plan_merge(sweep.job, models, options.ranks, chunk);
    for (const job::Job& point : sweep.points) check_weights(point, laid_out);
    const Forecast expected = forecast(sweep.points, laid_out, budget.bytes);
    const Account account{sweep.job,
                          sweep,
                          laid_out,
                          options,
                          budget,
                          expected,
                          smallest_resident_ranks(sweep.points, models, budget.bytes, chunk)};
    print_result(options.json ? as_json(account) : as_table(account));
  });
  return 0;
}

}  // namespace mpimerge::app
