# cmake -DBUILD=... -DSOURCE=... -DWORK=... -DGENERATOR=... -DCOMPILER=... -P install_test.cmake
set(prefix ${WORK}/prefix)
file(REMOVE_RECURSE ${prefix} ${WORK}/consumer)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/consumer -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${WORK}/consumer)
run(${WORK}/consumer/consumer)
run(${WORK}/consumer/with_magmax --version)
run(${prefix}/bin/mpimerge --version)

# A second installation keeps the site's settings, and the scripts find the program that was installed with them.
file(APPEND ${prefix}/share/mpimerge/slurm/site.conf "TASKS_PER_NODE=48\n")
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
execute_process(COMMAND ${prefix}/share/mpimerge/slurm/submit ${SOURCE}/../../../jobs/digits/ties.yaml --dry-run --nodes=2
                        -- --output ${WORK}/merged.h5
                COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE script)
foreach(line "#SBATCH --ntasks-per-node=48" "program=${prefix}/bin/mpimerge" ". ${prefix}/share/mpimerge/slurm/batch.sh")
  if(NOT script MATCHES "\n${line}\n")
    message(FATAL_ERROR "`${line}` is not in the script:\n${script}")
  endif()
endforeach()
