// A merge as the network sees it: the collectives of a run, with their real sizes, between phases
// of local work that only let simulated time pass. Compiled with SimGrid's smpicxx and started by
// tests/bench/simulate; SIMULATION.md says what is assumed.
//
// All simulated ranks live in one process and share its globals (smpirun -no-privatize): that is
// how a rank knows when the last one entered a collective, and why 4,096 ranks need one buffer.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <mpi.h>
#include <simgrid/s4u.hpp>
#include <smpi/smpi.h>

// SimGrid exports it, but declares it in none of its installed headers.
void smpi_comm_copy_buffer_callback(simgrid::kernel::activity::CommImpl* message, void* buffer,
                                    size_t bytes);

namespace {

constexpr std::uint64_t kKiB = 1024;

/// What the product sends. Selection: src/select/README.md; rounds: src/app/commands/merge.cpp;
/// writing: the calls that HDF5 and ROMIO make, see SIMULATION.md.
struct Sizes {
  std::uint64_t plan_per_tensor = 80;          ///< bytes of the archive: name, shape, offset
  std::uint64_t plan_per_extent = 24;          ///< bytes more for each model that holds the tensor
  std::uint64_t agreement = 8;                 ///< comm::collectively
  std::uint64_t same_plan = 16;                ///< comm::agree_same
  std::uint64_t sample_per_task = 256 * kKiB;  ///< select::BracketSample
  std::uint64_t counts_per_task = 64 * kKiB + 8;  ///< select::ThresholdSearch
  std::uint64_t count_rounds = 2;
  std::uint64_t tasks_per_sample = 16;  ///< tasks that share a reduction: of samples
  std::uint64_t tasks_per_count = 32;   ///< and of counts
  std::uint64_t signs = 16;             ///< totals of positive and negative signs of the sample
  std::uint64_t collective_mode = 8;    ///< HDF5: may this transfer be collective?
  std::uint64_t write_extent = 8;       ///< ROMIO: begin or end of what one rank writes
  std::uint64_t counters = 6;           ///< of the summary, besides one per task; 8 bytes each
};

/// From the command line, as name=value. All are required: only the driver has defaults.
class Settings {
 public:
  Settings(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string text = argv[i];
      const std::size_t sign = text.find('=');
      if (sign == std::string::npos) throw std::invalid_argument(text + ": expected name=value");
      values_[text.substr(0, sign)] = std::stod(text.substr(sign + 1));
    }
  }
  [[nodiscard]] double number(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) throw std::invalid_argument(name + "= is missing");
    return found->second;
  }
  [[nodiscard]] std::uint64_t count(const std::string& name) const {
    return static_cast<std::uint64_t>(number(name));
  }

 private:
  std::map<std::string, double> values_;
};

struct Account {
  double busy = 0;                    ///< local work
  double waiting = 0;                 ///< in collectives, before the last rank came
  double communicating = 0;           ///< in collectives, after it
  std::uint64_t allreduces = 0;       ///< of one rank
  std::uint64_t allreduce_bytes = 0;  ///< of one rank
};

// Shared by all ranks. Simulated ranks take turns in one thread, so nothing is locked.
std::vector<double> last_arrivals;  // by collective
std::map<std::string, Account> totals;
double end_of_run = 0;
std::vector<std::uint64_t> send_buffer;
std::vector<std::uint64_t> receive_buffer;

// Reductions and long messages take simulated time only. Short messages were copied when they were
// sent, and SMPI's own callback frees the copy.
void add_nothing(void*, void*, int*, MPI_Datatype*) {}

void copy_short_messages(smx_activity_t message, void* buffer, size_t bytes) {
  constexpr size_t kDetached = 65536;  // smpi/send-is-detached-thresh
  if (bytes < kDetached)
    smpi_comm_copy_buffer_callback(reinterpret_cast<simgrid::kernel::activity::CommImpl*>(message),
                                   buffer, bytes);
}

/// One rank: its clock, its noise, its account.
class SimulatedRank {
 public:
  explicit SimulatedRank(const Settings& settings)
      : settings_(settings),
        random_(settings.count("seed") * 1'000'003 + static_cast<std::uint64_t>(rank())),
        noise_(-settings.number("jitter") * settings.number("jitter") / 2,
               settings.number("jitter")) {
    MPI_Op_create(add_nothing, 1, &add_);
  }
  ~SimulatedRank() { MPI_Op_free(&add_); }
  SimulatedRank(const SimulatedRank&) = delete;
  SimulatedRank& operator=(const SimulatedRank&) = delete;

  void begin(std::string phase) { phase_ = std::move(phase); }

  /// Local work that takes `seconds` on average.
  void work(double seconds) {
    const double spent = seconds * (settings_.number("jitter") > 0 ? noise_(random_) : 1.0);
    simgrid::s4u::this_actor::sleep_for(spent);
    totals[phase_].busy += spent;
  }
  /// Local work over `bytes` at so many bytes per second; a rate of 0 is no work.
  void work(double bytes, const std::string& rate) {
    if (settings_.number(rate) > 0) work(bytes / settings_.number(rate));
  }

  void allreduce(std::uint64_t bytes) {
    if (rank() == 0) {
      totals[phase_].allreduces += 1;
      totals[phase_].allreduce_bytes += bytes;
    }
    collective([&] {
      MPI_Allreduce(send_buffer.data(), receive_buffer.data(), static_cast<int>(bytes / 8),
                    MPI_UINT64_T, add_, MPI_COMM_WORLD);
      // The arithmetic, which is not simulated: in Rabenseifner's algorithm a rank adds up about
      // as many bytes as the buffer has.
      simgrid::s4u::this_actor::sleep_for(static_cast<double>(bytes) /
                                          settings_.number("add-rate"));
    });
  }
  void bcast(std::uint64_t bytes) {
    collective([&] {
      MPI_Bcast(send_buffer.data(), static_cast<int>(bytes), MPI_BYTE, 0, MPI_COMM_WORLD);
    });
  }
  void allgather(std::uint64_t bytes) {
    const int count = static_cast<int>(bytes);
    collective([&] {
      MPI_Allgather(send_buffer.data(), count, MPI_BYTE, receive_buffer.data(), count, MPI_BYTE,
                    MPI_COMM_WORLD);
    });
  }
  void barrier() {
    collective([] { MPI_Barrier(MPI_COMM_WORLD); });
  }

  [[nodiscard]] std::uint64_t collectives() const { return next_collective_; }
  static int rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }

 private:
  template <class Call>
  void collective(Call&& call) {
    const std::size_t which = next_collective_++;
    if (last_arrivals.size() <= which) last_arrivals.resize(which + 1, 0.0);
    const double arrived = MPI_Wtime();
    last_arrivals[which] = std::max(last_arrivals[which], arrived);
    call();
    // The last rank has come by now: no rank leaves these collectives earlier, except a Bcast,
    // which all enter together.
    totals[phase_].waiting += last_arrivals[which] - arrived;
    totals[phase_].communicating += MPI_Wtime() - last_arrivals[which];
  }

  const Settings& settings_;
  std::mt19937_64 random_;
  std::lognormal_distribution<double> noise_;
  MPI_Op add_ = MPI_OP_NULL;
  std::string phase_;
  std::size_t next_collective_ = 0;
};

void start(SimulatedRank& rank, const Settings& settings, const Sizes& sizes) {
  rank.begin("start");
  rank.allreduce(sizes.agreement);
  rank.bcast(8);
  rank.bcast(settings.count("tensors") *
             (sizes.plan_per_tensor + sizes.plan_per_extent * (settings.count("tasks") + 1)));
  rank.allreduce(sizes.same_plan);
}

void select(SimulatedRank& rank, const Settings& settings, const Sizes& sizes) {
  rank.begin("select");
  const std::uint64_t tasks = settings.count("tasks");
  const double bytes = settings.number("bytes-per-rank");
  const double sample = bytes * settings.number("sample-share");
  for (std::uint64_t task = 0; task < tasks; task += sizes.tasks_per_sample) {
    const std::uint64_t batch = std::min(sizes.tasks_per_sample, tasks - task);
    rank.work(sample * static_cast<double>(batch) / static_cast<double>(tasks), "select-rate");
    rank.allreduce(sizes.agreement);
    rank.allreduce(batch * sizes.sample_per_task);
  }
  rank.work(bytes, "read-rate");
  rank.work(bytes, "select-rate");
  for (std::uint64_t round = 0; round < sizes.count_rounds; ++round) {
    rank.allreduce(sizes.agreement);
    for (std::uint64_t task = 0; task < tasks; task += sizes.tasks_per_count)
      rank.allreduce(std::min(sizes.tasks_per_count, tasks - task) * sizes.counts_per_task);
  }
}

// The guess of the majority sign, from the sample.
void guess(SimulatedRank& rank, const Settings& settings, const Sizes& sizes) {
  rank.begin("guess");
  rank.work(settings.number("bytes-per-rank") * settings.number("sample-share"), "merge-rate");
  rank.allreduce(sizes.agreement);
  rank.allreduce(sizes.signs);
}

void write(SimulatedRank& rank, const Sizes& sizes, double bytes, bool collective) {
  rank.begin("write");
  if (collective) {
    rank.allreduce(sizes.collective_mode);
    rank.barrier();  // MPI_File_set_view
    rank.allgather(sizes.write_extent);
    rank.allgather(sizes.write_extent);
  }
  rank.work(bytes, "write-rate");
  if (collective) rank.barrier();  // MPI_File_set_view, back
}

void merge_and_write(SimulatedRank& rank, const Settings& settings, const Sizes& sizes,
                     double output) {
  const double chunk = settings.number("chunk");
  const double models = settings.number("tasks") + 1;
  const bool in_step = settings.count("free-rounds") == 0;
  for (double done = 0; done < output; done += chunk) {
    const double bytes = std::min(chunk, output - done);
    rank.begin("merge");
    rank.work(bytes * models, "merge-rate");
    if (in_step || done + chunk >= output) rank.allreduce(sizes.agreement);
    write(rank, sizes, bytes, in_step);
  }
}

void finish(SimulatedRank& rank, const Settings& settings, const Sizes& sizes, double output) {
  rank.begin("check");
  rank.allreduce((sizes.counters + settings.count("tasks")) * 8);
  rank.allreduce(sizes.agreement);  // sync
  rank.work(output, "check-rate");
  rank.allreduce(sizes.agreement);
  rank.barrier();
}

void print_report(int ranks, std::uint64_t collectives) {
  std::printf("{\"seconds\": %.9g, \"collectives\": %llu, \"phases\": {", end_of_run,
              static_cast<unsigned long long>(collectives));
  const char* comma = "";
  for (const auto& [phase, account] : totals) {
    std::printf(
        "%s\"%s\": {\"busy\": %.9g, \"waiting\": %.9g, \"communicating\": %.9g, \"allreduces\": "
        "%llu, "
        "\"allreduce_bytes\": %llu}",
        comma, phase.c_str(), account.busy / ranks, account.waiting / ranks,
        account.communicating / ranks, static_cast<unsigned long long>(account.allreduces),
        static_cast<unsigned long long>(account.allreduce_bytes));
    comma = ", ";
  }
  std::printf("}}\n");
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const Settings settings(argc, argv);
  const Sizes sizes;
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const std::uint64_t tasks = settings.count("tasks");
  const std::uint64_t longest = std::max(
      {sizes.tasks_per_sample * sizes.sample_per_task,
       sizes.tasks_per_count * sizes.counts_per_task,
       settings.count("tensors") * (sizes.plan_per_tensor + sizes.plan_per_extent * (tasks + 1)),
       static_cast<std::uint64_t>(ranks) * sizes.write_extent});
  send_buffer.resize(longest / 8 + 1);
  receive_buffer.resize(longest / 8 + 1);
  smpi_comm_set_copy_data_callback(copy_short_messages);
  {
    SimulatedRank rank(settings);
    const double output = settings.number("bytes-per-rank") / (settings.number("tasks") + 1);
    start(rank, settings, sizes);
    select(rank, settings, sizes);
    guess(rank, settings, sizes);
    merge_and_write(rank, settings, sizes, output);
    finish(rank, settings, sizes, output);
    end_of_run = std::max(end_of_run, MPI_Wtime());
    MPI_Barrier(MPI_COMM_WORLD);
    if (SimulatedRank::rank() == 0) print_report(ranks, rank.collectives());
  }
  MPI_Finalize();
  return 0;
}
