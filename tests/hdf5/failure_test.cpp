#include "mpimerge/hdf5/failure.hpp"

#include <string>

#include <gtest/gtest.h>

#include "mpimerge/hdf5/library.hpp"

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {
namespace {

// The error stack as HDF5 builds it: the innermost reason first.
Failure failure_after(std::initializer_list<const char*> reasons) {
  start_library();
  H5Eclear2(H5E_DEFAULT);
  for (const char* reason : reasons) {
    H5Epush2(H5E_DEFAULT, "file.c", "function", 1, H5E_ERR_CLS, H5E_IO, H5E_WRITEERROR, "%s",
             reason);
  }
  try {
    call::fail("write data");
  } catch (const Failure& failure) {
    return failure;
  }
}

TEST(Failure, TellsTheInnermostReason) {
  EXPECT_STREQ(failure_after({"file signature not found", "unable to open file"}).what(),
               "HDF5 could not write data: file signature not found");
}

TEST(Failure, TellsOnlyTheSystemsMessageOfALongOne) {
  const Failure failure =
      failure_after({"file write failed: time = Mon, filename = 'a.h5', errno = 5, error message = "
                     "'Input/output error', buf = 0x1",
                     "driver write request failed"});
  EXPECT_STREQ(failure.what(), "HDF5 could not write data: Input/output error");
  EXPECT_FALSE(failure.no_space());
}

TEST(Failure, TellsTheErrorOfMpiIo) {
  const Failure failure = failure_after(
      {"MPI_File_write_at_all failed: MPI error string is 'MPI_ERR_IO: input/output error'"});
  EXPECT_STREQ(failure.what(), "HDF5 could not write data: MPI_ERR_IO: input/output error");
}

TEST(Failure, KnowsAFullDisk) {
  EXPECT_TRUE(
      failure_after({"errno = 28, error message = 'No space left on device', x"}).no_space());
  EXPECT_TRUE(
      failure_after({"MPI_ERR_NO_SPACE: no space left on device", "MPI_File_write_at_all failed"})
          .no_space());
  EXPECT_TRUE(failure_after({"errno = 122, error message = 'Disk quota exceeded', x"}).no_space());
  EXPECT_TRUE(
      failure_after({"MPI_ERR_QUOTA: out of quota", "MPI_File_write_at_all failed"}).no_space());
}

TEST(Failure, SaysSoIfThereIsNoReason) {
  EXPECT_STREQ(failure_after({}).what(), "HDF5 could not write data: it gave no reason");
}

}  // namespace
}  // namespace mpimerge::hdf5
