// main of the kernels' tests: all of them run once for every generation of vector units that this
// processor has, from the widest to plain scalar code.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace {

class EveryTarget : public testing::EmptyTestEventListener {
 public:
  EveryTarget() {
    // Each target is one bit; the lowest is the widest.
    for (std::int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1)
      targets_.push_back(rest & -rest);
  }

  int count() const { return static_cast<int>(targets_.size()); }

  void OnTestIterationStart(const testing::UnitTest& /*tests*/, int iteration) override {
    const std::int64_t target = targets_[static_cast<std::size_t>(iteration) % targets_.size()];
    hwy::SetSupportedTargetsForTest(target);
    std::printf("Kernels for %s\n", hwy::TargetName(target));
  }

 private:
  std::vector<std::int64_t> targets_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  auto* const targets = new EveryTarget;  // owned by the list of listeners
  testing::UnitTest::GetInstance()->listeners().Append(targets);
  testing::GTEST_FLAG(repeat) = targets->count();
  return RUN_ALL_TESTS();
}
