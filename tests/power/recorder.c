/* Preloaded into a process, it writes down what that process does to the files of one folder.
 *
 * Every call that can change a file there is performed and logged under one lock, so the log is one
 * order of all threads' calls. An fsync stands in it only once it has succeeded. Child processes
 * are not recorded. A call that is not intercepted here is noticed when the log is used: it then
 * does not lead to the folder's bytes (tests/power/images.py).
 *
 * RECORD_FOLDER   absolute path without links; SQLite's shared memory in it is not recorded
 * RECORD_LOG      file to append to
 *
 * A record is: operation (1 byte), file descriptor (4), position (8), lengths of the two paths and
 * of the data (4 each), all little endian, then the paths and the data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, CREATE, CLOSE, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MAKE_FOLDER };

#define MAX_DESCRIPTORS 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char tracked[MAX_DESCRIPTORS];
static const char *folder;
static size_t folder_length;
static int log_descriptor = -1;
static pid_t owner;

__attribute__((constructor)) static void start(void) {
    folder = getenv("RECORD_FOLDER");
    const char *log_path = getenv("RECORD_LOG");
    if (folder == NULL || log_path == NULL) return;
    folder_length = strlen(folder);
    owner = getpid();
    log_descriptor = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_descriptor < 0) abort();
    unsetenv("LD_PRELOAD");
}

static int is_recording(void) { return log_descriptor >= 0 && getpid() == owner; }

static int is_inside(const char *path) {
    if (!is_recording() || path == NULL || strncmp(path, folder, folder_length) != 0) return 0;
    size_t length = strlen(path);
    if (length >= 4 && strcmp(path + length - 4, "-shm") == 0) return 0;
    return path[folder_length] == '/' || path[folder_length] == '\0';
}

static int is_tracked(int fd) {
    return is_recording() && fd >= 0 && fd < MAX_DESCRIPTORS && tracked[fd];
}

static void record(uint8_t operation, int32_t fd, uint64_t position, const char *first,
                   const char *second, const void *data, uint32_t data_length) {
    uint32_t first_length = first ? strlen(first) : 0, second_length = second ? strlen(second) : 0;
    char head[25];
    head[0] = operation;
    memcpy(head + 1, &fd, 4);
    memcpy(head + 5, &position, 8);
    memcpy(head + 13, &first_length, 4);
    memcpy(head + 17, &second_length, 4);
    memcpy(head + 21, &data_length, 4);
    struct iovec parts[] = {{head, sizeof head},
                            {(void *)first, first_length},
                            {(void *)second, second_length},
                            {(void *)data, data_length}};
    ssize_t length = sizeof head + first_length + second_length + data_length;
    if (syscall(SYS_writev, log_descriptor, parts, 4) != length) abort();
}

static int open_recorded(const char *path, int flags, mode_t mode) {
    pthread_mutex_lock(&lock);
    int is_there = access(path, F_OK) == 0;
    int fd = REAL(open)(path, flags | O_LARGEFILE, mode);
    if (fd >= MAX_DESCRIPTORS) abort();
    if (fd >= 0) {
        tracked[fd] = 1;
        record(is_there ? OPEN : CREATE, fd, 0, path, NULL, NULL, 0);
        if (is_there && (flags & O_TRUNC)) record(TRUNCATE, fd, 0, NULL, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define DEFINE_OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                            \
        va_list arguments;                                                  \
        va_start(arguments, flags);                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                  \
        if (is_inside(path)) return open_recorded(path, flags, mode);       \
        return REAL(name)(path, flags, mode);                               \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                 \
    int name(int at, const char *path, int flags, ...) {                    \
        va_list arguments;                                                  \
        va_start(arguments, flags);                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                  \
        if (is_inside(path)) return open_recorded(path, flags, mode);       \
        return REAL(name)(at, path, flags, mode);                           \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* What a call of two arguments becomes where the C library checks for the third. */
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }

/* Performs a call under the lock, and logs it where it succeeded. */
#define PERFORM(condition, type, call, log)  \
    do {                                     \
        if (!(condition)) return call;       \
        pthread_mutex_lock(&lock);           \
        type result = call;                  \
        if (result >= 0) log;                \
        pthread_mutex_unlock(&lock);         \
        return result;                       \
    } while (0)

int close(int fd) {
    PERFORM(is_tracked(fd), int, REAL(close)(fd),
            (tracked[fd] = 0, record(CLOSE, fd, 0, NULL, NULL, NULL, 0)));
}

ssize_t write(int fd, const void *data, size_t length) {
    if (!is_tracked(fd)) return REAL(write)(fd, data, length);
    pthread_mutex_lock(&lock);
    off_t position = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    ssize_t written = REAL(write)(fd, data, length);
    if (written > 0) record(WRITE, fd, position, NULL, NULL, data, written);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t position) {
    PERFORM(is_tracked(fd), ssize_t, REAL(pwrite)(fd, data, length, position),
            record(WRITE, fd, position, NULL, NULL, data, result));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t position) {
    PERFORM(is_tracked(fd), ssize_t, REAL(pwrite64)(fd, data, length, position),
            record(WRITE, fd, position, NULL, NULL, data, result));
}

int ftruncate(int fd, off_t length) {
    PERFORM(is_tracked(fd), int, REAL(ftruncate)(fd, length),
            record(TRUNCATE, fd, length, NULL, NULL, NULL, 0));
}

int ftruncate64(int fd, off64_t length) {
    PERFORM(is_tracked(fd), int, REAL(ftruncate64)(fd, length),
            record(TRUNCATE, fd, length, NULL, NULL, NULL, 0));
}

int truncate(const char *path, off_t length) {
    PERFORM(is_inside(path), int, REAL(truncate)(path, length),
            record(TRUNCATE, -1, length, path, NULL, NULL, 0));
}

int truncate64(const char *path, off64_t length) {
    PERFORM(is_inside(path), int, REAL(truncate64)(path, length),
            record(TRUNCATE, -1, length, path, NULL, NULL, 0));
}

int fsync(int fd) {
    PERFORM(is_tracked(fd), int, REAL(fsync)(fd), record(SYNC, fd, 0, NULL, NULL, NULL, 0));
}

int fdatasync(int fd) {
    PERFORM(is_tracked(fd), int, REAL(fdatasync)(fd), record(SYNC, fd, 0, NULL, NULL, NULL, 0));
}

int rename(const char *from, const char *to) {
    PERFORM(is_inside(from) || is_inside(to), int, REAL(rename)(from, to),
            record(RENAME, -1, 0, from, to, NULL, 0));
}

int link(const char *from, const char *to) {
    PERFORM(is_inside(from) || is_inside(to), int, REAL(link)(from, to),
            record(LINK, -1, 0, from, to, NULL, 0));
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    PERFORM(is_inside(from) || is_inside(to), int, REAL(linkat)(from_at, from, to_at, to, flags),
            record(LINK, -1, 0, from, to, NULL, 0));
}

int unlink(const char *path) {
    PERFORM(is_inside(path), int, REAL(unlink)(path), record(UNLINK, -1, 0, path, NULL, NULL, 0));
}

int mkdir(const char *path, mode_t mode) {
    PERFORM(is_inside(path), int, REAL(mkdir)(path, mode),
            record(MAKE_FOLDER, -1, 0, path, NULL, NULL, 0));
}
