# Every package that mpimerge needs. A missing one, or one of the wrong kind, ends the configuration with its remedy.
include(GNUInstallDirs)

find_package(MPI 3.1 COMPONENTS C)
if(NOT MPI_C_FOUND)
  message(FATAL_ERROR "mpimerge needs MPI (C, 3.1 or newer) and found none. Remedy: `apt-get install libopenmpi-dev "
                      "openmpi-bin`, on a cluster `module load openmpi`, or set MPI_C_COMPILER to your mpicc.")
endif()

set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 1.10.2 COMPONENTS C)
if(NOT HDF5_FOUND)
  message(FATAL_ERROR "mpimerge needs parallel HDF5 (1.10.2 or newer) and found none. Remedy: `apt-get install "
                      "libhdf5-openmpi-dev`, on a cluster `module load hdf5-parallel` (its name varies), or set HDF5_ROOT.")
endif()
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "mpimerge needs parallel HDF5, but the one found is serial: ${HDF5_INCLUDE_DIRS}. Remedy: `apt-get "
                      "install libhdf5-openmpi-dev`, or set HDF5_ROOT to a build configured with --enable-parallel.")
endif()

function(mpimerge_require package remedy)
  find_package(${package} ${ARGN} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "mpimerge needs ${package} and found none. Remedy: `apt-get install ${remedy}`, or add its "
                        "prefix to CMAKE_PREFIX_PATH.")
  endif()
endfunction()
mpimerge_require(Boost libboost-serialization-dev 1.74 COMPONENTS serialization)
mpimerge_require(fmt libfmt-dev)
mpimerge_require(spdlog libspdlog-dev)
mpimerge_require(yaml-cpp libyaml-cpp-dev)
mpimerge_require(nlohmann_json nlohmann-json3-dev)
mpimerge_require(CLI11 libcli11-dev)
mpimerge_require(hwy libhwy-dev)
mpimerge_require(Eigen3 libeigen3-dev 3.3 NO_MODULE)
find_path(XXHASH_INCLUDE_DIR xxhash.h)
if(NOT XXHASH_INCLUDE_DIR)
  message(FATAL_ERROR "mpimerge needs xxHash and found none. Remedy: `apt-get install libxxhash-dev`, or set XXHASH_INCLUDE_DIR.")
endif()

# The packages whose own CMake files differ from release to release, under one name each.
add_library(mpimerge_mpi INTERFACE)
target_link_libraries(mpimerge_mpi INTERFACE MPI::MPI_C)
target_compile_definitions(mpimerge_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)  # the old C++ bindings

add_library(mpimerge_hdf5_library INTERFACE)
target_include_directories(mpimerge_hdf5_library SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(mpimerge_hdf5_library INTERFACE ${HDF5_C_LIBRARIES} mpimerge_mpi)

add_library(mpimerge_xxhash INTERFACE)
target_include_directories(mpimerge_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(mpimerge_xxhash INTERFACE XXH_INLINE_ALL)  # no library to link

if(TARGET yaml-cpp::yaml-cpp)
  set(MPIMERGE_YAML_TARGET yaml-cpp::yaml-cpp)
else()
  set(MPIMERGE_YAML_TARGET yaml-cpp)  # before 0.8
endif()
