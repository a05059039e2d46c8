// The floor of a merge: the ranks read every byte of the inputs once and write as many bytes as the
// output has, and do nothing else. What a merge of the same files takes is measured against this.
//
// The copy that pread makes is the read: the block that it fills stays in the cache, so that looking
// at the values once more would cost time that belongs to no reading.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <mpi.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr std::uint64_t kReadBlock = std::uint64_t{1} << 20;  // stays in the second-level cache
constexpr std::uint64_t kWriteBlock = std::uint64_t{4} << 20;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "mpimerge_floor: error: %s: %s\n", what.c_str(), std::strerror(errno));
  MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  std::abort();
}

int open_or_fail(const std::string& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (file < 0) fail(path);
  return file;
}

struct Share {
  std::uint64_t begin;
  std::uint64_t end;
};

// The contiguous part of `bytes` that falls to a rank.
Share share_of(std::uint64_t bytes, std::uint64_t rank, std::uint64_t ranks) {
  const std::uint64_t each = (bytes + ranks - 1) / ranks;
  return {std::min(rank * each, bytes), std::min((rank + 1) * each, bytes)};
}

std::uint64_t read_share(const std::string& path, std::uint64_t rank, std::uint64_t ranks,
                         std::vector<char>& block) {
  const int file = open_or_fail(path, O_RDONLY);
  struct stat status {};
  if (fstat(file, &status) != 0) fail(path);
  const Share share = share_of(static_cast<std::uint64_t>(status.st_size), rank, ranks);
  for (std::uint64_t at = share.begin; at < share.end;) {
    const std::uint64_t wanted = std::min(kReadBlock, share.end - at);
    const ssize_t got = pread(file, block.data(), wanted, static_cast<off_t>(at));
    if (got <= 0) fail(path);
    at += static_cast<std::uint64_t>(got);
  }
  close(file);
  return share.end - share.begin;
}

void write_share(const std::string& path, const Share& share, const std::vector<char>& block) {
  const int file = open_or_fail(path, O_WRONLY);
  for (std::uint64_t at = share.begin; at < share.end;) {
    const std::uint64_t wanted = std::min(kWriteBlock, share.end - at);
    const ssize_t put = pwrite(file, block.data(), wanted, static_cast<off_t>(at));
    if (put <= 0) fail(path);
    at += static_cast<std::uint64_t>(put);
  }
  if (fsync(file) != 0 || close(file) != 0) fail(path);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const double start = MPI_Wtime();
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  std::uint64_t output_bytes = 0;
  const char* const number = argc > 2 ? argv[2] : "";
  const char* const number_end = number + std::strlen(number);
  const auto [rest, fault] = std::from_chars(number, number_end, output_bytes);
  if (argc < 4 || fault != std::errc{} || rest != number_end) {
    if (rank == 0) std::fprintf(stderr, "usage: %s OUTPUT BYTES INPUT...\n", argv[0]);
    MPI_Finalize();
    return 2;
  }
  const auto this_rank = static_cast<std::uint64_t>(rank);
  const auto all_ranks = static_cast<std::uint64_t>(ranks);
  const std::string output = argv[1];
  std::vector<char> block(std::max(kReadBlock, kWriteBlock));

  std::uint64_t bytes_read = 0;
  for (int input = 3; input < argc; ++input)
    bytes_read += read_share(argv[input], this_rank, all_ranks, block);
  MPI_Barrier(MPI_COMM_WORLD);
  const double read_end = MPI_Wtime();

  if (rank == 0) close(open_or_fail(output, O_WRONLY | O_CREAT | O_TRUNC));
  MPI_Barrier(MPI_COMM_WORLD);
  write_share(output, share_of(output_bytes, this_rank, all_ranks), block);
  MPI_Barrier(MPI_COMM_WORLD);
  const double end = MPI_Wtime();

  double seconds[3] = {read_end - start, end - read_end, end - start};
  double slowest[3] = {};
  std::uint64_t all_read = 0;
  MPI_Reduce(seconds, slowest, 3, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  MPI_Reduce(&bytes_read, &all_read, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
  if (rank == 0) {
    std::printf(
        "{\"ranks\": %d, \"read_bytes\": %llu, \"write_bytes\": %llu, \"read_seconds\": %.6f, "
        "\"write_seconds\": %.6f, \"total_seconds\": %.6f}\n",
        ranks, static_cast<unsigned long long>(all_read),
        static_cast<unsigned long long>(output_bytes), slowest[0], slowest[1], slowest[2]);
  }
  MPI_Finalize();
}
