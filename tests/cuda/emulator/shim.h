// Runs unmodified CUDA C++ kernels on the CPU, for tests: grid and block indices, static __shared__ arrays,
// __syncthreads. Shared memory is filled with NaN before every block, so stale and unwritten values show; threads of a
// block run one at a time, as fibers, in forward, reverse or shuffled order, and switch at barriers only.
//
// What it cannot see: launch limits, warps, memory order, coalescing, bank conflicts.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include <type_traits>
#include <utility>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SHIM_ASAN 1
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
#ifdef SHIM_ASAN
#define __shared__ static  // AddressSanitizer does not guard arrays in a section of their own
#else
#define __shared__ static __attribute__((section("shim_shared")))
#endif
#define __syncthreads() shim::wait_at(__LINE__)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }

extern "C" {
extern char __start_shim_shared[] __attribute__((weak));
extern char __stop_shim_shared[] __attribute__((weak));
}

namespace shim {

enum Order { forward, reverse, shuffled };

[[noreturn]] inline void die(const char* why)
{
  fprintf(stderr, "shim: %s\n", why);
  abort();
}

// ---- fibers: one CUDA thread each ----------------------------------------------------------------------------------

struct Fiber {
  ucontext_t context;    // of its first start
  void* resume = nullptr;  // its stack pointer, where it waits
  std::vector<char> stack;
  unsigned thread;
  int barrier;  // source line of the barrier where it waits, 0: it waits at none
  bool alive;
};

constexpr size_t stack_bytes = 256 << 10;
static Order order = forward;
static bool misaligned = false;  // an access was, whose check -fsanitize=alignment put there
static uint64_t random_state = 1;
static std::vector<Fiber*> pool;
static std::vector<unsigned> to_start;
static size_t next_to_start;
static ucontext_t scheduler;
static void* scheduler_stack_pointer;
static Fiber* current;
static void (*call_kernel)(void*);
static void* kernel;

#if defined(__x86_64__) && !defined(SHIM_ASAN)
// swapcontext makes two system calls to save the signal mask, which no kernel changes.
#define SHIM_FAST_SWITCH 1
extern "C" void shim_switch(void** save, void* load);
__asm__(
    ".text\n.local shim_switch\n.type shim_switch,@function\nshim_switch:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n  ret\n");
#endif
#ifdef SHIM_ASAN
static const void* scheduler_stack;
static size_t scheduler_stack_size;
#endif

inline void set_thread(unsigned thread)
{
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

inline void to_scheduler(bool for_good)
{
  Fiber* self = current;
#ifdef SHIM_ASAN
  void* saved = nullptr;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &saved, scheduler_stack, scheduler_stack_size);
#else
  (void)for_good;
#endif
#ifdef SHIM_FAST_SWITCH
  shim_switch(&self->resume, scheduler_stack_pointer);
#else
  swapcontext(&self->context, &scheduler);
#endif
#ifdef SHIM_ASAN
  __sanitizer_finish_switch_fiber(saved, &scheduler_stack, &scheduler_stack_size);
#endif
}

inline void wait_at(int line)
{
  current->barrier = line;
  to_scheduler(false);
}

// Runs one thread after the other until one of them waits at a barrier, which keeps this fiber.
inline void run_threads()
{
#ifdef SHIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  for (;;) {
    call_kernel(kernel);
    if (current->barrier || next_to_start >= to_start.size()) break;
    current->thread = to_start[next_to_start++];
    set_thread(current->thread);
  }
  current->alive = false;
  to_scheduler(true);
}

inline void resume(Fiber* fiber)
{
  current = fiber;
  set_thread(fiber->thread);
#ifdef SHIM_ASAN
  void* saved = nullptr;
  __sanitizer_start_switch_fiber(&saved, fiber->stack.data(), stack_bytes);
#endif
#ifdef SHIM_FAST_SWITCH
  shim_switch(&scheduler_stack_pointer, fiber->resume);
#else
  swapcontext(&scheduler, &fiber->context);
#endif
#ifdef SHIM_ASAN
  __sanitizer_finish_switch_fiber(saved, nullptr, nullptr);
#endif
}

inline Fiber* start(size_t used)
{
  if (used == pool.size()) {
    pool.push_back(new Fiber);
    pool.back()->stack.resize(stack_bytes);
  }
  Fiber* fiber = pool[used];
  fiber->thread = to_start[next_to_start++];
  fiber->barrier = 0;
  fiber->alive = true;
#ifdef SHIM_FAST_SWITCH
  uintptr_t top = ((uintptr_t)fiber->stack.data() + stack_bytes) & ~(uintptr_t)15;
  void** slot = (void**)top - 2;  // the call convention wants rsp = 8 mod 16 at a function's entry
  *slot = (void*)&run_threads;
  memset(slot - 6, 0, 6 * sizeof(void*));
  fiber->resume = slot - 6;
#else
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack.data();
  fiber->context.uc_stack.ss_size = stack_bytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, run_threads, 0);
#endif
  resume(fiber);
  return fiber;
}

// ---- grids ---------------------------------------------------------------------------------------------------------

template <class T> void shuffle(std::vector<T>& items)
{
  for (size_t i = items.size(); i > 1; --i) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    std::swap(items[i - 1], items[(random_state >> 33) % i]);
  }
}

template <class T> void reversed(std::vector<T>& items)
{
  for (size_t i = 0; i < items.size() / 2; ++i) std::swap(items[i], items[items.size() - 1 - i]);
}

inline void poison_shared()
{
  if (__start_shim_shared) memset(__start_shim_shared, 0xFF, __stop_shim_shared - __start_shim_shared);
}

inline void run_block(unsigned n_threads)
{
  poison_shared();
  to_start.resize(n_threads);
  for (unsigned i = 0; i < n_threads; ++i) to_start[i] = order == reverse ? n_threads - 1 - i : i;
  if (order == shuffled) shuffle(to_start);
  next_to_start = 0;
  std::vector<Fiber*> waiting;
  for (size_t used = 0; next_to_start < n_threads; ++used) {
    Fiber* fiber = start(used);
    if (fiber->alive) waiting.push_back(fiber);
  }
  while (!waiting.empty()) {
    if (waiting.size() != n_threads) die("some threads of a block reached __syncthreads and others returned");
    for (Fiber* fiber : waiting)
      if (fiber->barrier != waiting[0]->barrier) die("threads wait at different __syncthreads");
    if (order == reverse) reversed(waiting);
    if (order == shuffled) shuffle(waiting);
    std::vector<Fiber*> again;
    for (Fiber* fiber : waiting) {
      resume(fiber);
      if (fiber->alive) again.push_back(fiber);
    }
    waiting.swap(again);
  }
}

// Every block or, where `only` names one (x, y), that one of the grid.
template <class Call> void run_grid(Call call, const unsigned* only)
{
  const unsigned n_threads = blockDim.x * blockDim.y * blockDim.z;
  kernel = (void*)&call;
  call_kernel = [](void* what) { (*(Call*)what)(); };
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        if (only[0] != ~0u) x = only[0], y = only[1];
        blockIdx = {x, y, z};
        run_block(n_threads);
        if (only[0] != ~0u) return;
      }
}

// ---- what Python calls ---------------------------------------------------------------------------------------------

template <class A> constexpr char kind_of()
{
  if constexpr (std::is_pointer_v<A>) return 'p';
  else if constexpr (std::is_floating_point_v<A>) return 'f';
  else if constexpr (std::is_signed_v<A>) return 'i';
  else return 'u';
}

// The kernel's parameters, kind and size in bytes of each: "p8 i4 f4 ".
template <class... A> const char* signature(void (*)(A...))
{
  static char text[4 * sizeof...(A) + 1];
  char* end = text;
  ((end += sprintf(end, "%c%d ", kind_of<A>(), (int)sizeof(A))), ...);
  return text;
}

template <class... A, size_t... I>
void launch_with(void (*function)(A...), void** arguments, const unsigned* only, std::index_sequence<I...>)
{
  run_grid([=] { function(*(std::remove_cv_t<A>*)arguments[I]...); }, only);
}

// Whether all loads and stores were aligned. `shape`: the grid and the block, three numbers each, and the only block.
template <class... A>
bool launch(void (*function)(A...), const unsigned* shape, void** arguments, int chosen_order, unsigned chosen_seed)
{
  gridDim = {shape[0], shape[1], shape[2]};
  blockDim = {shape[3], shape[4], shape[5]};
  order = (Order)chosen_order;
  random_state = chosen_seed;
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // float32 denormals flush to zero, as with CuPy's -ftz=true
  misaligned = false;
  launch_with(function, arguments, shape + 6, std::index_sequence_for<A...>{});
  _mm_setcsr(before);
  return !misaligned;
}

}  // namespace shim

#ifndef SHIM_ASAN
extern "C" void __ubsan_handle_type_mismatch_v1(void*, uintptr_t) { shim::misaligned = true; }
#endif
