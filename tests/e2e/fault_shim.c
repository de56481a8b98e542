/* Loaded into the daemon by tests/e2e/test_faults.py (LD_PRELOAD): faults that need a strange clock or
   disk. The file that FAULTS names says which, and may change at any time: words `clock=SECONDS`,
   `sync=MILLISECONDS`, `eio`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long said(const char *word) {
  char text[128] = "";
  const char *path = getenv("FAULTS");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  char *found = size > 0 ? strstr(text, word) : NULL;
  if (!found) return 0;
  found += strlen(word);
  return *found == '=' ? atol(found + 1) : 1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += said("clock");
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

static int slow_or_broken(void) {
  long pause = said("sync");
  if (pause) usleep(pause * 1000);
  if (!said("eio")) return 0;
  errno = EIO;
  return -1;
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  return slow_or_broken() ? -1 : real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  return slow_or_broken() ? -1 : real(fd);
}
