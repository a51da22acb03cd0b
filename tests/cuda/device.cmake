# The tests of kernels/cuda on a GPU: the kernels as nvcc made them, the CUDA runtime, cuBLAS. What is asked of the
# emulator, or tests it, is left out. tests/gpu builds and runs them.
if(NOT RHUMB_CUDA)
  message(FATAL_ERROR "RHUMB_CUDA_TESTS=device needs RHUMB_CUDA=ON")
endif()

function(rh_device_test name)
  add_executable(${name} ${ARGN} ${CMAKE_SOURCE_DIR}/tests/kernels/help.c $<TARGET_OBJECTS:rh_kernels> $<TARGET_OBJECTS:rh_cpu>
    $<TARGET_OBJECTS:rh_base>)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -UNDEBUG)
  target_link_libraries(${name} PRIVATE rh_cuda_device rh_kernels rh_cpu rh_base PkgConfig::CMOCKA Threads::Threads)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX) # the kernels' host side
  add_test(NAME ${name} COMMAND ${name})
endfunction()

file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test_*.c ${CMAKE_CURRENT_SOURCE_DIR}/test_*.cpp)
file(GLOB helpers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
list(REMOVE_ITEM helpers ${tests})
foreach(test ${tests})
  file(STRINGS ${test} asks REGEX "control\\.h|rh_emulator|wrong_kernels|alloc_fail")
  if(NOT asks)
    get_filename_component(base ${test} NAME_WE)
    rh_device_test(cuda_${base} ${test} ${helpers})
  endif()
endforeach()

# The tests of ops.h that the CPU's kernels pass.
foreach(base rows matmul attention cosines screen)
  rh_device_test(cuda_ops_${base} ${CMAKE_SOURCE_DIR}/tests/kernels/test_${base}.c)
  target_compile_definitions(cuda_ops_${base} PRIVATE RH_TEST_CUDA)
endforeach()
