#include <cerrno>
#include <csignal>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/file.hpp"

#include "hdf5/shared_dir.hpp"
#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

using base::Bytes;
using base::ErrorKind;
using std::filesystem::path;
using test::SharedDir;
using test::world;
using testing::HasSubstr;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string text_of(const path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// Collective.
void make_on_root(const path& file) {
  if (world().is_root()) File::create(file, {}).close();
  barrier(world());
}

template <class Call>
base::Error error_of(Call&& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return error;
  }
  return {ErrorKind::bug, "no error"};
}

TEST(File, HoldsWhatEveryRankWroteAtItsOffsets) {
  const SharedDir dir(world());
  make_on_root(dir / "a");
  const int ranks = world().ranks();

  File file = File::open(dir / "a");
  for (int round = 2; round >= 0; --round) {  // backwards: nothing but the offset decides
    const int block = round * ranks + world().rank();
    const std::string text(5, static_cast<char>('a' + block));
    file.write_at(Bytes{static_cast<std::uint64_t>(5 * block)}, bytes_of(text));
  }
  file.close();
  barrier(world());

  std::string expected;
  for (int block = 0; block < 3 * ranks; ++block)
    expected += std::string(5, static_cast<char>('a' + block));
  EXPECT_EQ(text_of(dir / "a"), expected);
}

TEST(File, LeavesBytesAloneThatItDoesNotWrite) {
  const SharedDir dir(world());
  if (world().is_root()) std::ofstream(dir / "a") << "0123456789";
  barrier(world());
  if (world().rank() == world().ranks() - 1) {
    File file = File::open(dir / "a");
    file.write_at(Bytes{4}, bytes_of("xy"));
    file.write_at(Bytes{0}, {});
    file.close();
  }
  barrier(world());
  EXPECT_EQ(text_of(dir / "a"), "0123xy6789");
}

TEST(File, OffsetsHave64Bits) {
  const SharedDir dir(world());
  make_on_root(dir / "a");
  const Bytes place{(std::uint64_t{5} << 32) + static_cast<std::uint64_t>(world().rank())};
  File file = File::open(dir / "a");
  file.write_at(place, bytes_of(std::string(1, static_cast<char>('a' + world().rank()))));
  file.close();
  barrier(world());

  std::vector<std::byte> found(static_cast<std::size_t>(world().ranks()));
  base::read_exactly(base::open_for_reading(dir / "a"), dir / "a", Bytes{std::uint64_t{5} << 32},
                     found);
  EXPECT_EQ(found, bytes_of(std::string("abcdefg").substr(0, found.size())));
}

TEST(File, TakesMoreAtOnceThanMpiCounts) {
  if (world().ranks() > 1) return;  // one rank shows it; several would take the same memory each
  const SharedDir dir(world());
  make_on_root(dir / "a");
  constexpr std::size_t kMany = (std::size_t{1} << 31) + 4097;
  // Pages of zeros that nobody writes to take no memory.
  void* const memory = ::mmap(nullptr, kMany, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const std::span<std::byte> data(static_cast<std::byte*>(memory), kMany);
  data[std::size_t{1} << 31] = std::byte{7};
  data.back() = std::byte{8};

  File file = File::open(dir / "a");
  file.write_at(Bytes{3}, data);
  file.close();
  ::munmap(memory, kMany);

  EXPECT_EQ(std::filesystem::file_size(dir / "a"), kMany + 3);
  std::vector<std::byte> end(4097);
  base::read_exactly(base::open_for_reading(dir / "a"), dir / "a",
                     Bytes{(std::uint64_t{1} << 31) + 3}, end);
  EXPECT_EQ(end.front(), std::byte{7});
  EXPECT_EQ(end.back(), std::byte{8});
}

TEST(File, NamesMayHaveAColon) {
  const SharedDir dir(world());
  make_on_root(dir / "ufs: or not:a");
  File::open(dir / "ufs: or not:a").close();
  EXPECT_TRUE(std::filesystem::exists(dir / "ufs: or not:a"));
}

TEST(File, NeverReplacesOneThatExists) {
  const SharedDir dir(world());
  if (world().is_root()) {
    std::ofstream(dir / "a") << "precious";
    const base::Error error = error_of([&] { File::create(dir / "a", {}); });
    EXPECT_EQ(error.kind(), ErrorKind::output);
    EXPECT_THAT(error.what(), HasSubstr("a: cannot be made: File exists"));
    EXPECT_EQ(text_of(dir / "a"), "precious");
  }
}

TEST(File, NamesAFileThatIsMissing) {
  const SharedDir dir(world());
  const base::Error error = error_of([&] { File::open(dir / "nowhere"); });
  EXPECT_EQ(error.kind(), ErrorKind::output);
  EXPECT_THAT(error.what(), HasSubstr("nowhere: cannot be opened: No such file or directory"));
}

TEST(File, RefusesAHintThatMpiDoesNotTake) {
  const SharedDir dir(world());
  const base::Error error = error_of([&] {
    File::create(dir / "a", {{"striping_factor", std::string(2000, '1')}});
  });
  EXPECT_EQ(error.kind(), ErrorKind::job);
  EXPECT_THAT(error.what(), HasSubstr("the hint `striping_factor` for MPI-IO"));
  EXPECT_FALSE(std::filesystem::exists(dir / "a"));
}

TEST(File, AWriteThatFailsOnOneRankIsEveryRanksError) {
  const SharedDir dir(world());
  make_on_root(dir / "a");
  File file = File::open(dir / "a");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  if (world().rank() == world().ranks() - 1) {
    std::signal(SIGXFSZ, SIG_IGN);  // so that the limit is an error of write, as a quota is
    const rlimit small{4096, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  const auto place = static_cast<std::uint64_t>(world().rank()) * 10'000;

  const base::Error error = error_of([&] {
    collectively(world(), "write",
                 [&] { file.write_at(Bytes{place}, std::vector<std::byte>(10'000)); });
  });
  setrlimit(RLIMIT_FSIZE, &before);
  file.close();

  EXPECT_EQ(error.kind(), ErrorKind::output);
  EXPECT_THAT(error.what(), HasSubstr("a: cannot be written: File too large"));
}

}  // namespace
}  // namespace mpimerge::comm
