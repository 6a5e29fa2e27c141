/* Ports that go from one place to another: bytes, half-closed ends, services that are not there, removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wherry/container/proxy.h"
#include "wherry/container/uplink.h"

#define BIG ((size_t)3 << 20)

static struct sockaddr_in local(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int dial(unsigned port)
{
    struct sockaddr_in to = local(port);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(sock, (struct sockaddr *)&to, sizeof to) == 0)
        return sock;
    (void)close(sock);
    return -1;
}

/* Answers each connection with what it got, when the other end has said all. */
static void *echo(void *arg)
{
    int listener = *(int *)arg;
    for (int sock; (sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; (void)close(sock)) {
        char *data = wh_malloc(BIG + 1);
        size_t len = 0;
        for (ssize_t n; len < BIG && (n = read(sock, data + len, BIG + 1 - len)) > 0;)
            len += (size_t)n;
        for (size_t at = 0; at < len;) {
            ssize_t n = write(sock, data + at, len - at);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
        free(data);
    }
    return NULL;
}

static void *send_big(void *arg)
{
    int sock = *(int *)arg;
    char *data = wh_malloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        data[i] = (char)(i * 7 + i / 251);
    for (size_t at = 0; at < BIG;) {
        ssize_t n = write(sock, data + at, BIG - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    free(data);
    (void)shutdown(sock, SHUT_WR);
    return NULL;
}

static void test_tcp(void **state)
{
    (void)state;
    unsigned inner = 0;
    unsigned outer = 0;
    unsigned none = 0;
    int service = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &inner, NULL);
    int gone = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &none, NULL);
    int listener = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &outer, NULL);
    struct wh_proxy *p = wh_proxy_new(-1, NULL);
    struct sockaddr_in target = local(inner);
    pthread_t server;
    pthread_t sender;
    assert_true(service >= 0 && listener >= 0 && p && outer != inner);
    assert_int_equal(wh_proxy_add(p, 1, WH_PROXY_TCP, listener, &target, NULL), 0);
    assert_int_equal(pthread_create(&server, NULL, echo, &service), 0);
    int sock = dial(outer);
    assert_true(sock >= 0);
    assert_int_equal(pthread_create(&sender, NULL, send_big, &sock), 0);
    size_t got = 0;
    char buffer[65536];
    for (ssize_t n; (n = read(sock, buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < n; i++, got++)
            assert_int_equal(buffer[i], (char)(got * 7 + got / 251));
    assert_int_equal(got, BIG);
    (void)pthread_join(sender, NULL);
    (void)close(sock);
    /* A service that is not there: the caller sees an end, and not nothing. */
    unsigned dead = 0;
    int second = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &dead, NULL);
    target = local(none);
    (void)close(gone);
    assert_int_equal(wh_proxy_add(p, 2, WH_PROXY_TCP, second, &target, NULL), 0);
    sock = dial(dead);
    assert_true(sock >= 0 && read(sock, buffer, 1) <= 0);
    (void)close(sock);
    /* Removed: one port goes, with its connections; the other stays. */
    sock = dial(outer);
    wh_proxy_remove(p, 1);
    assert_int_equal(dial(outer), -1);
    assert_true(read(sock, buffer, 1) <= 0);
    (void)close(sock);
    sock = dial(dead);
    assert_true(sock >= 0);
    wh_proxy_free(p);
    (void)close(sock);
    (void)shutdown(service, SHUT_RDWR);
    (void)close(service);
    (void)pthread_join(server, NULL);
}

static void test_udp(void **state)
{
    (void)state;
    unsigned inner = 0;
    unsigned outer = 0;
    int service = wh_proxy_listen(WH_PROXY_UDP, "127.0.0.1", &inner, NULL);
    int listener = wh_proxy_listen(WH_PROXY_UDP, "127.0.0.1", &outer, NULL);
    struct wh_proxy *p = wh_proxy_new(-1, NULL);
    struct sockaddr_in target = local(inner);
    assert_int_equal(wh_proxy_add(p, 7, WH_PROXY_UDP, listener, &target, NULL), 0);
    struct sockaddr_in to = local(outer);
    for (int client = 0; client < 3; client++) {
        int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        char text[2] = {(char)('a' + client), '\0'};
        char got[16] = {0};
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        assert_int_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
        assert_int_equal(send(sock, text, 1, 0), 1);
        assert_int_equal(recvfrom(service, got, sizeof got, 0, (struct sockaddr *)&from, &len), 1);
        assert_string_equal(got, text);
        assert_int_equal(sendto(service, "ok", 2, 0, (struct sockaddr *)&from, len), 2);
        struct pollfd fd = {sock, POLLIN, 0};
        assert_int_equal(poll(&fd, 1, 5000), 1);
        assert_int_equal(recv(sock, got, sizeof got, 0), 2);
        (void)close(sock);
    }
    wh_proxy_free(p);
    (void)close(service);
}

static void test_addresses(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    unsigned port = 0;
    uint32_t subnet;
    assert_int_equal(wh_proxy_listen(WH_PROXY_TCP, "localhost", &port, &err), -1);
    assert_string_equal(wh_error_text(&err), "'localhost' is no address to listen at");
    int first = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &port, NULL);
    assert_int_equal(wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &port, &err), -1);
    assert_int_equal(err.sys_errno, EADDRINUSE);
    (void)close(first);
    assert_int_equal(wh_uplink_subnet("10.209.0.0/16", &subnet, &err), 0);
    assert_int_equal(ntohl(subnet), 0x0ad10000);
    static const char *const bad[] = {"10.209.0.0", "10.209.0.0/24", "10.209.1.0/16", "x/16", "", "/16"};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        assert_int_equal(wh_uplink_subnet(bad[i], &subnet, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_udp),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
