/* Frames with descriptors, blocking and for a loop, against honest and hostile peers; files and trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wherry/base/frame.h"
#include "wherry/base/fs.h"

static cJSON *numbered(int n)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_int(json, "n", n);
    return json;
}

static void descriptors_ride_along(void **state)
{
    (void)state;
    int pair[2], ends[2];
    assert_int_equal(wh_frame_pair(pair, NULL), 0);
    assert_int_equal(pipe(ends), 0);
    for (int n = 0; n < 3; n++) {
        wh_autojson *json = numbered(n);
        assert_int_equal(wh_frame_send(pair[0], json, ends, n == 1 ? 2 : 0, NULL), 0);
    }
    close(pair[0]);
    for (int n = 0; n < 3; n++) {
        wh_autoframe f = {0};
        assert_int_equal(wh_frame_recv(pair[1], &f, NULL), 1);
        assert_int_equal(wh_json_int(f.json, "n", -1), n);
        assert_int_equal(f.nfds, n == 1 ? 2 : 0);
        if (n == 1)
            assert_int_equal(write(f.fds[1], "x", 1), 1);
    }
    char c;
    assert_int_equal(read(ends[0], &c, 1), 1);
    wh_autoframe f = {0};
    assert_int_equal(wh_frame_recv(pair[1], &f, NULL), 0);
    close(pair[1]);
    close(ends[0]);
    close(ends[1]);
}

static void loop_side_takes_pieces(void **state)
{
    (void)state;
    int pair[2], ends[2];
    assert_int_equal(wh_frame_pair(pair, NULL), 0);
    assert_int_equal(pipe(ends), 0);
    struct wh_frame_conn *a = wh_frame_conn_new(pair[0]), *b = wh_frame_conn_new(pair[1]);
    wh_autofree char *big = wh_malloc(3000001);
    memset(big, 'x', 3000000);
    big[3000000] = '\0';
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "big", big);
    wh_autojson *small = numbered(7);
    assert_int_equal(wh_frame_conn_send(a, json, NULL, 0, NULL), 0);
    assert_int_equal(wh_frame_conn_send(a, small, ends, 1, NULL), 0);
    assert_true(wh_frame_conn_wants_write(a));
    wh_autoframe f = {0};
    int got = 0;
    while ((got = wh_frame_conn_recv(b, &f, NULL)) == 0)
        assert_int_equal(wh_frame_conn_flush(a, NULL), 0);
    assert_int_equal(got, 1);
    assert_int_equal(strlen(wh_json_string(f.json, "big")), 3000000);
    assert_int_equal(f.nfds, 0);
    while ((got = wh_frame_conn_recv(b, &f, NULL)) == 0)
        assert_int_equal(wh_frame_conn_flush(a, NULL), 0);
    assert_int_equal(wh_json_int(f.json, "n", -1), 7);
    assert_int_equal(f.nfds, 1);
    wh_frame_conn_free(a);
    assert_int_equal(wh_frame_conn_recv(b, &f, NULL), -2);
    wh_frame_conn_free(b);
    close(ends[0]);
    close(ends[1]);
}

static int recv_raw(const void *data, size_t len, struct wh_error *err)
{
    int pair[2];
    assert_int_equal(wh_frame_pair(pair, NULL), 0);
    assert_int_equal(send(pair[0], data, len, 0), len);
    close(pair[0]);
    wh_autoframe f = {0};
    int got = wh_frame_recv(pair[1], &f, err);
    close(pair[1]);
    return got;
}

static void hostile_frames_are_refused(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(recv_raw("\xff\xff\xff\xff{}", 6, &err), -1);
    assert_int_equal(err.code, WH_E_PROTOCOL);
    assert_int_equal(recv_raw("\x05\0\0\0{}", 6, &err), -1);
    assert_int_equal(err.code, WH_E_PROTOCOL);
    assert_int_equal(recv_raw("\x02\0\0\0{]", 6, &err), -1);
    assert_int_equal(err.code, WH_E_PARSE);
    assert_int_equal(recv_raw("\x02\0", 2, &err), -1);
}

static void trees_go_but_not_through_links(void **state)
{
    (void)state;
    char top[] = "/tmp/wherry-test.XXXXXX";
    assert_non_null(mkdtemp(top));
    wh_autofree char *inner = wh_printf("%s/a/b/c", top), *keep = wh_printf("%s/keep", top),
                     *link = wh_printf("%s/a/link", top);
    wh_autofree char *a = wh_printf("%s/a", top), *file = wh_printf("%s/keep/file", top),
                     *closed = wh_printf("%s/a/b", top);
    assert_int_equal(wh_mkdir_p(inner, 0755, NULL), 0);
    assert_int_equal(wh_mkdir_p(keep, 0755, NULL), 0);
    assert_int_equal(wh_write_file(AT_FDCWD, file, "x", 1, 0600, NULL), 0);
    assert_int_equal(symlink(keep, link), 0);
    assert_int_equal(chmod(closed, 0), 0);
    assert_int_equal(wh_remove_tree(AT_FDCWD, a, NULL), 0);
    assert_int_equal(access(a, F_OK), -1);
    assert_int_equal(access(file, F_OK), 0);
    wh_autostr text = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, file, 0, &text, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    assert_int_equal(wh_remove_tree(AT_FDCWD, top, NULL), 0);
    assert_int_equal(wh_remove_tree(AT_FDCWD, top, NULL), 0);
}

static void paths_stay_in_the_root(void **state)
{
    (void)state;
    char top[] = "/tmp/wherry-test.XXXXXX";
    assert_non_null(mkdtemp(top));
    wh_autofree char *link = wh_printf("%s/up", top), *etc = wh_printf("%s/etc", top),
                     *passwd = wh_printf("%s/etc/passwd", top);
    assert_int_equal(symlink("../../../../etc/passwd", link), 0);
    assert_int_equal(mkdir(etc, 0755), 0);
    wh_autoclose int root = open(top, O_RDONLY | O_DIRECTORY);
    wh_autoerror err = {0};
    assert_int_equal(wh_open_in_root(root, "up", O_RDONLY, 0, false, &err), -1);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    assert_int_equal(wh_write_file(AT_FDCWD, passwd, "mine", 4, 0600, NULL), 0);
    wh_autoclose int fd = wh_open_in_root(root, "../up", O_RDONLY, 0, true, NULL);
    wh_autostr text = {0};
    assert_int_equal(wh_read_fd(fd, 100, "up", &text, NULL), 0);
    assert_string_equal(text.data, "mine");
    assert_int_equal(wh_remove_tree(AT_FDCWD, top, NULL), 0);
}

static void a_connection_takes_no_more_than_its_limit(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(wh_frame_pair(pair, NULL), 0);
    struct wh_frame_conn *c = wh_frame_conn_new(pair[1]);
    wh_frame_conn_limit(c, 30);
    for (int over = 0; over < 2; over++) {
        wh_autofree char *text = wh_printf("%.*s", 30 - 8 + over, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        wh_autojson *json = cJSON_CreateObject();
        wh_json_add_string(json, "s", text); /* {"s":"..."} */
        wh_autoframe f = {0};
        wh_autoerror err = {0};
        assert_int_equal(wh_frame_send(pair[0], json, NULL, 0, NULL), 0);
        assert_int_equal(wh_frame_conn_recv(c, &f, &err), over ? -1 : 1);
        if (over)
            assert_non_null(strstr(wh_error_text(&err), "larger than the limit of 30"));
    }
    wh_frame_conn_free(c);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_ride_along),
        cmocka_unit_test(loop_side_takes_pieces),
        cmocka_unit_test(hostile_frames_are_refused),
        cmocka_unit_test(trees_go_but_not_through_links),
        cmocka_unit_test(paths_stay_in_the_root),
        cmocka_unit_test(a_connection_takes_no_more_than_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
