/* A disk that forgets, for tests: preloaded into a process, it keeps beside the directory POWER_CUT_DIR, in
 * POWER_CUT_SHADOW, exactly what a power cut at this moment is guaranteed to leave:
 *
 *   N.data   the bytes of file N as of its last fsync or fdatasync
 *   N.list   the names in directory N as of its last fsync: one line "N name" each, "N name/" for a directory
 *
 * Directory 0 is POWER_CUT_DIR itself. Nothing else makes anything last: not time, not close, not
 * sync_file_range. Bytes are copied before the sync returns, so a kill in between leaves less, never more. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NODES_MAX 65536
#define RANGES_MAX 4096

struct range { off_t start, end; };

struct node {
    dev_t dev;
    ino_t ino;
    int id;
    int live;
    int ranges;
    struct range *range; /* written since the last sync */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node nodes[NODES_MAX];
static int nodes_len;
static char root[4096], shadow[4096];
static __thread int inside; /* our own calls pass through */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static void die(const char *what) {
    perror(what);
    abort();
}

static int ready(void) {
    if (!root[0]) {
        const char *dir = getenv("POWER_CUT_DIR"), *to = getenv("POWER_CUT_SHADOW");
        if (!dir || !to) return 0;
        pthread_mutex_lock(&lock);
        snprintf(shadow, sizeof shadow, "%s", to);
        snprintf(root, sizeof root, "%s", dir);
        pthread_mutex_unlock(&lock);
    }
    return !inside;
}

static void mark(struct node *node, off_t start, off_t end) {
    if (start >= end) return;
    if (node->ranges > 0) {
        struct range *last = &node->range[node->ranges - 1];
        if (start <= last->end && end >= last->start) {
            if (start < last->start) last->start = start;
            if (end > last->end) last->end = end;
            return;
        }
    }
    if (node->ranges == RANGES_MAX) {
        /* Too many: remember one that covers them all. It is read from the file, so it is only slower. */
        for (int i = 1; i < node->ranges; i++) {
            if (node->range[i].start < node->range[0].start) node->range[0].start = node->range[i].start;
            if (node->range[i].end > node->range[0].end) node->range[0].end = node->range[i].end;
        }
        node->ranges = 1;
        mark(node, start, end);
        return;
    }
    node->range[node->ranges++] = (struct range){start, end};
}

static struct node *find(const struct stat *st) {
    for (int i = nodes_len - 1; i >= 0; i--)
        if (nodes[i].live && nodes[i].ino == st->st_ino && nodes[i].dev == st->st_dev) return &nodes[i];
    return NULL;
}

/* The node of a file under the root; new ones start with everything unsynced. Called with the lock. */
static struct node *find_or_add(const struct stat *st) {
    struct node *node = find(st);
    if (node) return node;
    if (nodes_len == NODES_MAX) { errno = ENOSPC; die("power cut: too many files"); }
    struct stat at_root;
    int is_root = stat(root, &at_root) == 0 && at_root.st_ino == st->st_ino && at_root.st_dev == st->st_dev;
    node = &nodes[nodes_len++];
    *node = (struct node){.dev = st->st_dev, .ino = st->st_ino, .live = 1, .id = is_root ? 0 : nodes_len};
    node->range = malloc(RANGES_MAX * sizeof *node->range);
    if (!node->range) die("power cut: memory");
    if (S_ISREG(st->st_mode)) mark(node, 0, st->st_size);
    return node;
}

static int under_root(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    size_t n = strlen(root);
    return strncmp(path, root, n) == 0 && (path[n] == 0 || path[n] == '/');
}

static int opened(int fd) {
    if (fd >= 0 && ready()) {
        inside = 1;
        struct stat st;
        if (under_root(fd) && fstat(fd, &st) == 0) {
            pthread_mutex_lock(&lock);
            find_or_add(&st);
            pthread_mutex_unlock(&lock);
        }
        inside = 0;
    }
    return fd;
}

/* A write of `len` bytes ending where the file offset is now, or at `start` if that is not negative. */
static void written(int fd, off_t start, ssize_t len) {
    if (len <= 0 || !ready()) return;
    int saved = errno;
    inside = 1;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        pthread_mutex_lock(&lock);
        struct node *node = find(&st);
        if (node) {
            if (start < 0) start = lseek(fd, 0, SEEK_CUR) - len;
            mark(node, start, start + len);
        }
        pthread_mutex_unlock(&lock);
    }
    inside = 0;
    errno = saved;
}

static void resized(int fd, off_t before, off_t after) {
    struct stat st;
    inside = 1;
    if (fstat(fd, &st) == 0) {
        pthread_mutex_lock(&lock);
        struct node *node = find(&st);
        if (node) mark(node, before < after ? before : after, before < after ? after : before);
        pthread_mutex_unlock(&lock);
    }
    inside = 0;
}

static void copy_range(int from, int to, off_t start, off_t end) {
    static char buffer[1 << 16]; /* under the lock */
    while (start < end) {
        size_t want = end - start < (off_t)sizeof buffer ? (size_t)(end - start) : sizeof buffer;
        ssize_t got = REAL(pread)(from, buffer, want, start);
        if (got < 0) die("power cut: read");
        if (got == 0) return; /* the file has become shorter */
        if (REAL(pwrite)(to, buffer, got, start) != got) die("power cut: write");
        start += got;
    }
}

static void sync_file(int fd, const struct stat *st, struct node *node) {
    char path[4200];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int from = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/%d.data", shadow, node->id);
    int to = REAL(open)(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) die("power cut: open");
    for (int i = 0; i < node->ranges; i++) copy_range(from, to, node->range[i].start, node->range[i].end);
    node->ranges = 0;
    if (REAL(ftruncate)(to, st->st_size) != 0) die("power cut: resize");
    REAL(close)(from);
    REAL(close)(to);
}

static void sync_names(int fd, struct node *node) {
    char dir[64], now[4200], next[4300];
    snprintf(dir, sizeof dir, "/proc/self/fd/%d", fd);
    snprintf(now, sizeof now, "%s/%d.list", shadow, node->id);
    snprintf(next, sizeof next, "%s.new", now);
    int out_fd = REAL(open)(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = out_fd < 0 ? NULL : fdopen(out_fd, "w");
    DIR *names = opendir(dir);
    if (!out || !names) die("power cut: list");
    for (struct dirent *item; (item = readdir(names));) {
        struct stat st;
        if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..")) continue;
        if (fstatat(dirfd(names), item->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        fprintf(out, "%d %s%s\n", find_or_add(&st)->id, item->d_name, S_ISDIR(st.st_mode) ? "/" : "");
    }
    closedir(names);
    if (fclose(out) != 0 || rename(next, now) != 0) die("power cut: names");
}

static int synced(int fd) {
    if (!ready()) return 0;
    inside = 1;
    struct stat st;
    if (fstat(fd, &st) == 0) {
        pthread_mutex_lock(&lock);
        struct node *node = find(&st);
        if (node && S_ISREG(st.st_mode)) sync_file(fd, &st, node);
        if (node && S_ISDIR(st.st_mode)) sync_names(fd, node);
        pthread_mutex_unlock(&lock);
    }
    inside = 0;
    return 0;
}

/* The last name of a file goes: its number may be used again for another one. */
static void forget(int dir, const char *path) {
    struct stat st;
    if (!ready()) return;
    inside = 1;
    if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && (S_ISDIR(st.st_mode) || st.st_nlink == 1)) {
        pthread_mutex_lock(&lock);
        struct node *node = find(&st);
        if (node) {
            node->live = 0;
            free(node->range);
        }
        pthread_mutex_unlock(&lock);
    }
    inside = 0;
}

#define MODE(flags, mode)                                        \
    mode_t mode = 0;                                             \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                       \
        va_list args;                                            \
        va_start(args, flags);                                   \
        mode = va_arg(args, mode_t);                             \
        va_end(args);                                            \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(REAL(open)(path, flags, mode)); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(REAL(open64)(path, flags, mode)); }
int openat(int dir, const char *path, int flags, ...) {
    MODE(flags, mode) return opened(REAL(openat)(dir, path, flags, mode));
}
int openat64(int dir, const char *path, int flags, ...) {
    MODE(flags, mode) return opened(REAL(openat64)(dir, path, flags, mode));
}

ssize_t write(int fd, const void *bytes, size_t len) {
    ssize_t done = REAL(write)(fd, bytes, len);
    written(fd, -1, done);
    return done;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t done = REAL(writev)(fd, parts, count);
    written(fd, -1, done);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    ssize_t done = REAL(pwrite)(fd, bytes, len, at);
    written(fd, at, done);
    return done;
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
    ssize_t done = REAL(pwrite64)(fd, bytes, len, at);
    written(fd, at, done);
    return done;
}

int ftruncate(int fd, off_t size) {
    struct stat st = {0};
    fstat(fd, &st);
    int result = REAL(ftruncate)(fd, size);
    if (result == 0 && ready()) resized(fd, st.st_size, size);
    return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }
int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    (void)fd, (void)at, (void)len, (void)flags;
    return 0;
}

int unlink(const char *path) {
    forget(AT_FDCWD, path);
    return REAL(unlink)(path);
}
int unlinkat(int dir, const char *path, int flags) {
    forget(dir, path);
    return REAL(unlinkat)(dir, path, flags);
}
int rename(const char *from, const char *to) {
    if (!inside) forget(AT_FDCWD, to);
    return REAL(rename)(from, to);
}
