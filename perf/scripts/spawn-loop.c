/* The floor for a farm that runs processes: posix_spawn and wait, nothing else.
 * usage: spawn-loop COUNT AT_ONCE PROGRAM [ARGUMENT...] */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: spawn-loop COUNT AT_ONCE PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    long count = atol(argv[1]), at_once = atol(argv[2]);
    long started = 0, done = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (done < count) {
        for (; started < count && started - done < at_once; started++) {
            pid_t child;
            int error = posix_spawnp(&child, argv[3], NULL, NULL, argv + 3, environ);
            if (error) {
                fprintf(stderr, "%s: %s\n", argv[3], strerror(error));
                return 1;
            }
        }
        if (wait(NULL) > 0) done++;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%.0f\n", (double)count / took);
    return 0;
}
