#include "output/hdf5_skeleton.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/hdf5/dataset.hpp"
#include "mpimerge/hdf5/file.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::Dtype;
using base::Elements;
using base::ErrorKind;
using testing::HasSubstr;

Hdf5Layout layout_of(const std::vector<std::string>& names) {
  Hdf5Layout layout;
  layout.datasets.push_back({Dtype::f32, Elements{names.size()}});
  for (std::uint64_t at = 0; at < names.size(); ++at) {
    layout.tensors.push_back({names[at], Dtype::f32, {1}, Elements{at}});
  }
  return layout;
}

std::string refusal_of(const Hdf5Layout& layout, ErrorKind kind) {
  try {
    check_layout(layout);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(CheckLayout, NamesATensorThatHdf5CannotHold) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{""}, "it is empty"},
      {{"/a"}, "begins or ends"},
      {{"a/"}, "begins or ends"},
      {{"a//b"}, "empty part"},
      {{"."}, "is '.'"},
      {{"a/./b"}, "is '.'"},
      {{"a/."}, "is '.'"},
      {{std::string("a\0b", 3)}, "`a\\x00b`: HDF5 cannot hold this name: it has a NUL"},
      {{"a/" + std::string(60'001, 'x')}, "a part of 60001 bytes"},
      {{"a.b", "a", "a/b"},
       "tensor `a/b`: HDF5 cannot hold this name: another tensor is called `a`"},
      {{"x/y/z/w", "x/y"}, "another tensor is called `x/y`"},
      {{"a", "b", "a"}, "occurs twice"},
  };
  for (const auto& [names, why] : cases) {
    EXPECT_THAT(refusal_of(layout_of(names), ErrorKind::input), HasSubstr(why));
  }
}

TEST(CheckLayout, AcceptsWhatHdf5CanHold) {
  const std::vector<std::string> names{
      "..",  "a/..", "...",   "a b", "a.b", "a/b", "a/b.c", "größe/ö",
      "a\n", "A",    "x/a.b", "aa",  "-",   "#",   "\\",    std::string(60'000, 'x')};
  const Hdf5Layout layout = layout_of(names);
  EXPECT_EQ(refusal_of(layout, ErrorKind::input), "no error");

  const test::TempDir dir;
  hdf5::File file = hdf5::create_file(dir / "a.h5", base::Bytes{1});
  make_skeleton(file, layout);
  hdf5::close_file(std::move(file));

  std::vector<std::string> found;
  hdf5::for_each_dataset(
      hdf5::open_file(dir / "a.h5", hdf5::Access::read), "/tensors",
      [&](const std::string& path, const hdf5::Dataset& /*dataset*/) { found.push_back(path); });
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(names));
}

TEST(CheckLayout, RefusesMoreDimensionsThanHdf5Has) {
  Hdf5Layout layout = layout_of({"a"});
  layout.tensors[0].shape.assign(33, 1);
  EXPECT_THAT(refusal_of(layout, ErrorKind::input), HasSubstr("33 dimensions"));
}

TEST(CheckLayout, FindsATensorOutsideItsDataset) {
  Hdf5Layout layout = layout_of({"a", "b"});
  layout.tensors[1].offset = Elements{2};
  EXPECT_THAT(refusal_of(layout, ErrorKind::bug), HasSubstr("`b` lies outside /parameters/F32"));
  layout.tensors[1] = {"b", Dtype::f64, {1}, Elements{0}};
  EXPECT_THAT(refusal_of(layout, ErrorKind::bug), HasSubstr("`b` lies outside /parameters/F64"));
}

TEST(MakeSkeleton, TellsWhereDatasetsBegin) {
  Hdf5Layout layout;
  layout.datasets = {{Dtype::f32, Elements{1 << 20}}, {Dtype::bf16, Elements{1 << 20}}};
  const test::TempDir dir;
  const hdf5::File file = hdf5::create_file(dir / "a.h5", base::Bytes{1 << 20});

  const auto offsets = make_skeleton(file, layout);

  ASSERT_EQ(offsets.size(), 2U);
  for (std::size_t at = 0; at < 2; ++at) {
    const auto dataset = hdf5::open_dataset(file, dataset_path(layout.datasets[at].dtype));
    EXPECT_EQ(hdf5::file_offset(dataset), offsets[at]);
    EXPECT_EQ(offsets[at].value() % (1U << 20U), 0U);
  }
}

}  // namespace
}  // namespace mpimerge::output
