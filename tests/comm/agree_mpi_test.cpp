#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"

#include "support/world.hpp"

namespace mpimerge::comm {
namespace {

using base::ErrorKind;
using test::world;

struct Outcome {
  ErrorKind kind;
  std::string text;
};

// What `body` threw on this rank, if it was an AgreedError.
template <class Body>
std::optional<Outcome> outcome_of(Body&& body) {
  try {
    body();
    return std::nullopt;
  } catch (const AgreedError& error) {
    return Outcome{error.kind(), error.what()};
  }
}

void expect_outcome(const std::optional<Outcome>& outcome, ErrorKind kind,
                    const std::string& text) {
  EXPECT_TRUE(outcome.has_value());
  if (!outcome) return;
  EXPECT_EQ(outcome->kind, kind);
  EXPECT_EQ(outcome->text, text);
}

// Every rank still gets through a collective: nobody was left behind.
void expect_in_step(const Comm& comm) {
  EXPECT_EQ(all_reduce_sum(comm, std::uint64_t{1}), static_cast<std::uint64_t>(comm.ranks()));
}

TEST(Collectively, ReturnsWhenAllIsWell) {
  int calls = 0;

  const Wish wish = collectively(world(), "count", [&] { ++calls; });

  EXPECT_EQ(calls, 1);
  EXPECT_EQ(wish, Wish::go_on);
  expect_in_step(world());
}

TEST(Collectively, TheWeightiestWishOfAnyRankIsEverybodys) {
  const bool last = world().rank() == world().ranks() - 1;

  EXPECT_EQ(collectively(
                world(), "work", [] {}, last ? Wish::save : Wish::go_on),
            Wish::save);
  EXPECT_EQ(collectively(
                world(), "work", [] {}, last ? Wish::stop : Wish::save),
            Wish::stop);
  EXPECT_EQ(collectively(
                world(), "work", [] {}, world().is_root() ? Wish::stop : Wish::go_on),
            Wish::stop);
  expect_in_step(world());
}

TEST(Collectively, AFailureOutweighsEveryWish) {
  const auto outcome = outcome_of([] {
    collectively(
        world(), "work",
        [] {
          if (world().is_root()) throw base::Error(ErrorKind::input, "gone");
        },
        Wish::stop);
  });

  expect_outcome(outcome, ErrorKind::input, "gone");
  expect_in_step(world());
}

TEST(Collectively, OneFailingRankFailsAllWithItsKindAndText) {
  for (int failing = 0; failing < world().ranks(); ++failing) {
    const std::string text = "rank " + std::to_string(failing) + " found a bad file";

    const auto outcome = outcome_of([&] {
      collectively(world(), "open", [&] {
        if (world().rank() == failing) throw base::Error(ErrorKind::input, text);
      });
    });

    expect_outcome(outcome, ErrorKind::input, text);
    expect_in_step(world());
  }
}

TEST(Collectively, OfSeveralTheLowestFailingRankSpeaks) {
  const int lowest = world().ranks() / 2;

  const auto outcome = outcome_of([&] {
    collectively(world(), "open", [&] {
      if (world().rank() < lowest) return;
      const auto kind = world().rank() == lowest ? ErrorKind::output : ErrorKind::job;
      throw base::Error(kind, "rank " + std::to_string(world().rank()));
    });
  });

  expect_outcome(outcome, ErrorKind::output, "rank " + std::to_string(lowest));
}

TEST(Collectively, AFailureOfAllIsThatOfRankZero) {
  const auto outcome = outcome_of([&] {
    collectively(world(), "open", [&] {
      throw base::Error(ErrorKind::usage, "rank " + std::to_string(world().rank()));
    });
  });

  expect_outcome(outcome, ErrorKind::usage, "rank 0");
}

TEST(Collectively, MemoryThatRanOutIsAnErrorOfResourcesThatNamesThePhase) {
  const auto outcome = outcome_of([&] {
    collectively(world(), "resize", [&] {
      if (world().rank() == world().ranks() - 1) throw std::bad_alloc();
    });
  });

  EXPECT_TRUE(outcome.has_value());
  if (!outcome) return;
  EXPECT_EQ(outcome->kind, ErrorKind::resources);
  EXPECT_EQ(outcome->text.rfind("resize: not enough memory", 0), 0U) << outcome->text;
}

TEST(Collectively, AnyOtherExceptionIsABugInThePhase) {
  const auto outcome = outcome_of([&] {
    collectively(world(), "count", [&] {
      if (world().rank() == world().ranks() - 1) throw std::out_of_range("too far");
    });
  });

  expect_outcome(outcome, ErrorKind::bug, "count: too far");
}

TEST(Collectively, EmptyAndLongTextsArriveWhole) {
  for (const std::string& text : {std::string{}, std::string(100'000, 'x') + "end"}) {
    const auto outcome = outcome_of([&] {
      collectively(world(), "open", [&] {
        if (world().rank() == world().ranks() - 1) throw base::Error(ErrorKind::input, text);
      });
    });

    expect_outcome(outcome, ErrorKind::input, text);
  }
}

TEST(Collectively, OfAnEndlessTextTheFirstMebibyteArrives) {
  constexpr std::size_t kMebi = 1 << 20;
  const auto outcome = outcome_of([&] {
    collectively(world(), "open", [&] {
      if (world().rank() == world().ranks() - 1)
        throw base::Error(ErrorKind::input, std::string(kMebi, 'x') + "cut off");
    });
  });

  expect_outcome(outcome, ErrorKind::input, std::string(kMebi, 'x'));
}

TEST(Collectively, WorksAgainAfterAFailure) {
  for (int times = 0; times < 3; ++times) {
    const auto outcome = outcome_of([&] {
      collectively(world(), "open", [&] {
        if (world().rank() == 0) throw base::Error(ErrorKind::input, "again");
      });
    });
    expect_outcome(outcome, ErrorKind::input, "again");
    EXPECT_FALSE(outcome_of([&] { collectively(world(), "open", [] {}); }).has_value());
  }
}

TEST(Collectively, AFailureStaysWithinASplitCommunicator) {
  const int color = world().rank() % 2;
  const Comm part = world().split(color);

  const auto outcome = outcome_of([&] {
    collectively(part, "open", [&] {
      if (color == 1 && part.rank() == part.ranks() - 1)
        throw base::Error(ErrorKind::input, "odd ranks only");
    });
  });

  if (color == 1)
    expect_outcome(outcome, ErrorKind::input, "odd ranks only");
  else
    EXPECT_FALSE(outcome.has_value());
  expect_in_step(part);
  expect_in_step(world());
}

TEST(Collectively, AFailureOfMpiItselfIsNotAgreedOn) {
  EXPECT_THROW(collectively(world(), "send", [] { throw MpiError("broken"); }), MpiError);
  expect_in_step(world());
}

TEST(AgreeSame, TakesWhatIsTheSame) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{42}, UINT64_MAX}) {
    EXPECT_FALSE(outcome_of([&] { agree_same(world(), value, "plan"); }).has_value()) << value;
  }
}

TEST(AgreeSame, OneOtherValueIsABugOnAllRanks) {
  if (world().ranks() == 1) return;
  for (int other = 0; other < world().ranks(); ++other) {
    const std::uint64_t value = world().rank() == other ? 43 : 42;

    const auto outcome = outcome_of([&] { agree_same(world(), value, "plan"); });

    expect_outcome(outcome, ErrorKind::bug, "the plan is not the same on all ranks");
  }
}

TEST(AgreeSame, SeesDifferencesInTheHighestAndTheLowestBit) {
  if (world().ranks() == 1) return;
  for (const std::uint64_t bit : {std::uint64_t{1}, std::uint64_t{1} << 63}) {
    const std::uint64_t value = world().is_root() ? 0 : bit;
    EXPECT_TRUE(outcome_of([&] { agree_same(world(), value, "plan"); }).has_value()) << bit;
  }
}

// Says what `alone` was when it went.
class Witness {
 public:
  explicit Witness(bool& alone_at_end) : alone_at_end_(alone_at_end) {}
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() { alone_at_end_ = alone(); }

 private:
  bool& alone_at_end_;
};

bool alone_while(const std::function<void()>& body) {
  bool alone_at_end = false;
  try {
    const Witness witness(alone_at_end);
    body();
  } catch (const std::exception&) {
    return alone_at_end;
  }
  return alone_at_end;
}

void fail_together() {
  collectively(world(), "open", [] {
    if (world().is_root()) throw base::Error(ErrorKind::input, "agreed");
  });
}
[[noreturn]] void fail_alone() { throw std::runtime_error("lone"); }

TEST(Alone, IsNobodyInNormalFlow) {
  EXPECT_FALSE(alone());
  EXPECT_FALSE(alone_while([] {}));
}

TEST(Alone, IsNobodyUnderAnAgreedError) {
  EXPECT_FALSE(alone_while(fail_together));
  EXPECT_FALSE(alone_while([] { agree_same(world(), world().is_root() ? 1 : 2, "plan"); }));
}

TEST(Alone, IsNobodyUnderAnAgreedErrorOfWhichACopyIsGone) {
  EXPECT_FALSE(alone_while([] {
    try {
      fail_together();
    } catch (const AgreedError& error) {
      { [[maybe_unused]] const AgreedError copy(error); }
      throw;
    }
  }));
}

TEST(Alone, IsARankWithAnExceptionOfItsOwn) {
  collectively(world(), "nothing", [] {});
  EXPECT_TRUE(alone_while(fail_alone));
}

TEST(Alone, IsARankWithAnExceptionOfItsOwnAfterAHandledAgreedError) {
  EXPECT_FALSE(alone_while(fail_together));
  EXPECT_TRUE(alone_while(fail_alone));
}

}  // namespace
}  // namespace mpimerge::comm
