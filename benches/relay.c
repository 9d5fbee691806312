/* The yardstick: a two-thread byte relay between its own standard streams and a child's. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct way { int from, to; };

static void *carry(void *arg) {
    struct way *way = arg;
    static __thread char chunk[65536];
    ssize_t length;
    while ((length = read(way->from, chunk, sizeof chunk)) > 0)
        for (ssize_t done = 0; done < length;) {
            ssize_t written = write(way->to, chunk + done, length - done);
            if (written <= 0) return NULL;
            done += written;
        }
    close(way->to);
    return NULL;
}

int main(int argc, char **argv) {
    int in[2], out[2];
    if (argc < 2 || pipe(in) || pipe(out)) return 2;
    pid_t child = fork();
    if (child == 0) {
        dup2(in[0], 0), dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    struct way there = {0, in[1]}, back = {out[0], 1};
    pthread_t thread;
    pthread_create(&thread, NULL, carry, &there);
    carry(&back);
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}
