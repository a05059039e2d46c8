# `cmake --install`: the program, and the rooms as static libraries for find_package(mpimerge).
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY MPIMERGE_ROOMS)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mpimerge)

set_target_properties(mpimerge_mpi PROPERTIES EXPORT_NAME mpi_library)
set_target_properties(mpimerge_hdf5_library PROPERTIES EXPORT_NAME hdf5_library)
set_target_properties(mpimerge_xxhash PROPERTIES EXPORT_NAME xxhash_library)
install(TARGETS ${rooms} mpimerge_mpi mpimerge_hdf5_library mpimerge_xxhash EXPORT mpimergeTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mpimergeTargets NAMESPACE mpimerge:: DESTINATION ${package_dir})

# Modules put libraries where no loader looks: the installed program finds them where the linker did.
set_target_properties(mpimerge PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS mpimerge RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# slurm/submit finds bin/mpimerge from there. What a site has written into its file stays.
set(slurm_dir ${CMAKE_INSTALL_DATADIR}/mpimerge/slurm)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/slurm/ DESTINATION ${slurm_dir} USE_SOURCE_PERMISSIONS PATTERN site.conf EXCLUDE)
install(CODE "
  if(NOT EXISTS \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${slurm_dir}/site.conf\")
    file(INSTALL \"${PROJECT_SOURCE_DIR}/slurm/site.conf\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${slurm_dir}\")
  endif()")

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mpimerge DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/mpimergeConfig.cmake.in ${PROJECT_BINARY_DIR}/mpimergeConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mpimergeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mpimergeConfig.cmake ${PROJECT_BINARY_DIR}/mpimergeConfigVersion.cmake
        DESTINATION ${package_dir})
