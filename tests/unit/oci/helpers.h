/* Temporary folders, small trees and tars for the tests of this room. */
#ifndef TEST_OCI_HELPERS_H
#define TEST_OCI_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/oci/layer.h"

static char temp_dir[64];

__attribute__((unused)) static int make_temp(void **state)
{
    (void)state;
    strcpy(temp_dir, "/tmp/wherry-oci-XXXXXX");
    umask(022);
    return mkdtemp(temp_dir) ? 0 : -1;
}

__attribute__((unused)) static int drop_temp(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, temp_dir, NULL);
}

__attribute__((unused)) static char *temp_path(const char *name)
{
    return wh_path_join(temp_dir, name);
}

__attribute__((unused)) static int new_folder(const char *name)
{
    wh_autofree char *path = temp_path(name);
    assert_int_equal(wh_mkdir_p(path, 0755, NULL), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

__attribute__((unused)) static void put_file(int dir, const char *name, const void *data, size_t len,
                                             mode_t mode)
{
    wh_autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(wh_write_all(fd, data, len, NULL), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    struct timespec times[2] = {{1700000000, 999}, {1700000000, 999}};
    assert_int_equal(futimens(fd, times), 0);
}

__attribute__((unused)) static void put_text(int dir, const char *name, const char *text)
{
    put_file(dir, name, text, strlen(text), 0644);
}

__attribute__((unused)) static bool text_is(int dir, const char *name, const char *text)
{
    wh_autostr data = {0};
    return wh_read_file(dir, name, 1 << 20, &data, NULL) >= 0 && wh_streq(wh_str_text(&data), text);
}

__attribute__((unused)) static bool exists(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

__attribute__((unused)) static struct stat stat_of(int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("%s: %s", name, strerror(errno));
    return st;
}

__attribute__((unused)) static bool is_whiteout(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

__attribute__((unused)) static bool is_opaque(int dir, const char *name)
{
    char value[4];
    wh_autoclose int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fgetxattr(fd, "user.overlay.opaque", value, sizeof(value)) == 1 && value[0] == 'y';
}

__attribute__((unused)) static int to_buffer(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    (void)err;
    wh_str_addn(data, bytes, len);
    return 0;
}

struct bytes_source {
    const char *data;
    size_t len, pos, step;
};

__attribute__((unused)) static ssize_t from_bytes(void *data, void *buf, size_t cap, struct wh_error *err)
{
    struct bytes_source *s = data;
    (void)err;
    size_t n = WH_MIN(cap, s->len - s->pos);
    if (s->step && n > s->step)
        n = s->step;
    memcpy(buf, s->data + s->pos, n);
    s->pos += n;
    return (ssize_t)n;
}

/* Runs a piece of Python in the temporary folder. */
__attribute__((unused)) static void python(const char *code)
{
    wh_autofree char *script = temp_path("script.py");
    assert_int_equal(wh_write_file(AT_FDCWD, script, code, strlen(code), 0600, NULL), 0);
    wh_autofree char *command = wh_printf("cd %s && /usr/bin/python3 -W ignore script.py", temp_dir);
    if (system(command) != 0)
        fail_msg("python failed");
}

#endif
