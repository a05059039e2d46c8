#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/error.hpp"
#include "mpimerge/output/pass_file.hpp"

#include "hdf5/shared_dir.hpp"
#include "support/world.hpp"

namespace mpimerge::output {
namespace {

using test::SharedDir;
using test::world;

base::ElementRange range(std::uint64_t begin, std::uint64_t end) {
  return {base::Elements{begin}, base::Elements{end}};
}

// Of rank `rank`: more than a buffer, unless it has nothing.
std::vector<std::uint64_t> part_of(std::uint64_t rank) {
  std::vector<std::uint64_t> words;
  if (rank == 1) return words;
  for (std::uint64_t i = 0; i < 200'000; ++i) words.push_back(rank << 32 | i);
  return words;
}

plan::PassState state_of(std::uint64_t rank) {
  plan::PassState state;
  state.step = 2;
  state.numbers = {7, 8, 9};
  state.looked_at.add(0, range(10 * rank, 10 * rank + 10));
  state.looked_at.add(rank + 1, range(0, 1));
  return state;
}

// Collective.
void write(const std::filesystem::path& file, std::uint64_t merge) {
  const auto rank = static_cast<std::uint64_t>(world().rank());
  write_pass(world(), file, merge, state_of(rank), [&](const base::PutWords& words) {
    const std::vector<std::uint64_t> mine = part_of(rank);
    // In pieces of unlike length.
    for (std::size_t begin = 0, size = 1; begin < mine.size(); begin += size, size = size * 3 + 1) {
      size = std::min(size, mine.size() - begin);
      words(std::span(mine).subspan(begin, size));
    }
  });
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void put_content(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

TEST(PassFile, GivesBackWhatEveryRankPut) {
  const SharedDir dir(world());
  write(dir / "out.pass", 1);
  write(dir / "out.pass", 42);  // in place of the other

  const auto ranks = static_cast<std::uint64_t>(world().ranks());
  const auto head = read_pass_head(dir / "out.pass");
  EXPECT_TRUE(head.has_value());
  if (!head) return;
  EXPECT_EQ(head->merge, 42u);
  EXPECT_EQ(head->state.step, 2u);
  EXPECT_THAT(head->state.numbers, testing::ElementsAre(7, 8, 9));
  EXPECT_TRUE(head->state.looked_at.covers(0, range(0, 10 * ranks)));
  EXPECT_EQ(head->state.looked_at.elements(), base::Elements{11 * ranks});
  EXPECT_EQ(head->parts.size(), ranks);
  for (std::size_t rank = 0; rank < head->parts.size(); ++rank) {
    PassPart part(dir / "out.pass", *head, rank);
    EXPECT_TRUE(part.is_whole());
    std::vector<std::uint64_t> words;
    for (std::uint64_t i = 0; i < head->parts[rank].words; ++i) words.push_back(part.word());
    EXPECT_EQ(words, part_of(rank));
    EXPECT_THROW(part.word(), base::Error);
  }
  EXPECT_FALSE(std::filesystem::exists(dir / "out.pass.new"));
}

TEST(PassFile, ThatIsDamagedCountsForNothing) {
  const SharedDir dir(world());
  const auto file = dir / "out.pass";
  write(file, 42);
  comm::collectively(world(), "damage", [&] {
    if (!world().is_root()) return;
    const std::string good = content_of(file);
    const std::size_t head = encode(read_pass_head(file).value()).size();
    for (std::size_t place = 0; place < head; ++place) {
      std::string bad = good;
      bad[place] = static_cast<char>(bad[place] ^ 16);
      put_content(file, bad);
      EXPECT_FALSE(read_pass_head(file)) << "byte " << place;
    }
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{8}, head - 1, head, good.size() - 8, good.size() - 1}) {
      put_content(file, good.substr(0, length));
      EXPECT_FALSE(read_pass_head(file)) << length << " bytes";
    }
    put_content(file, good + "12345678");
    EXPECT_FALSE(read_pass_head(file));
    std::string bad = good;
    bad.back() = static_cast<char>(bad.back() ^ 1);
    put_content(file, bad);
    const auto found = read_pass_head(file);
    EXPECT_TRUE(found && !PassPart(file, *found, found->parts.size() - 1).is_whole());
    std::filesystem::remove(file);
    EXPECT_FALSE(read_pass_head(file));
  });
}

TEST(PassFile, IsKnownByItsBeginningAndRemovedWithItsHalfWrittenOne) {
  const SharedDir dir(world());
  const auto file = dir / "out.pass";
  write(file, 42);
  comm::collectively(world(), "look", [&] {
    if (!world().is_root()) return;
    EXPECT_TRUE(is_pass_file(file));
    put_content(dir / "other.pass", "mpimpas9 of a later version");
    EXPECT_TRUE(is_pass_file(dir / "other.pass"));
    for (const char* foreign : {"", "precious"}) {
      put_content(dir / "other.pass", foreign);
      EXPECT_FALSE(is_pass_file(dir / "other.pass")) << foreign;
    }
    put_content(dir / "out.pass.new", "half");
    remove_pass_file(file);
    EXPECT_FALSE(std::filesystem::exists(file) || std::filesystem::exists(dir / "out.pass.new"));
    remove_pass_file(file);
  });
}

TEST(PassFile, FollowsNoLinkThatLiesInItsWay) {
  const SharedDir dir(world());
  comm::collectively(world(), "prepare", [&] {
    if (!world().is_root()) return;
    put_content(dir / "precious", "old");
    std::filesystem::create_symlink("precious", dir / "out.pass.new");
    std::filesystem::create_symlink("precious", dir / "out.pass");
  });
  write(dir / "out.pass", 42);
  EXPECT_EQ(content_of(dir / "precious"), "old");
  EXPECT_FALSE(std::filesystem::is_symlink(dir / "out.pass"));
}

TEST(PassFile, ThatCannotBeWrittenIsEverybodysError) {
  const SharedDir dir(world());
  EXPECT_THROW(write(dir / "nowhere" / "out.pass", 42), comm::AgreedError);
}

}  // namespace
}  // namespace mpimerge::output
