/* Options of containers to requests of the engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/base/json.h"
#include "wherry/container/create.h"

/* The request of an options text, printed; or the error. Owned. */
static char *request_of(const char *text)
{
    wh_autoerror err = {0};
    wh_autojson *request = cJSON_CreateObject();
    size_t used = 0;
    wh_autostrv char **words = wh_create_split(text, &err);
    if (err.code == WH_OK && wh_create_options(request, words, &used, &err) == 0) {
        if (words && words[used])
            wh_json_add_string(request, "rest", words[used]);
        return wh_json_print(request);
    }
    return wh_printf("error: %s", wh_error_text(&err));
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "{}"},
        {"--name one -e A=b --env=C=d", "{\"name\":\"one\",\"env\":[\"A=b\",\"C=d\"]}"},
        {"-eA=b -w/x -u 1:2 image -e X=y",
         "{\"env\":[\"A=b\"],\"workdir\":\"/x\",\"user\":\"1:2\",\"rest\":\"image\"}"},
        {"-dit --rm image", "{\"detach\":true,\"interactive\":true,\"rest\":\"image\"}"},
        {"--detach=false -- -x", "{\"detach\":false,\"rest\":\"-x\"}"},
        {"--health-cmd \"pg_isready -U 'a b'\" --health-interval 10s --health-timeout=1m --health-retries 5 "
         "--health-start-period 1h2m3s4ms",
         "{\"health\":{\"test\":[\"CMD-SHELL\",\"pg_isready -U 'a b'\"],\"interval\":10000,\"timeout\":60000,"
         "\"retries\":5,\"start-period\":3723004}}"},
        {"--no-healthcheck", "{\"no-healthcheck\":true}"},
        {"-p 8080:80 -p 53/udp",
         "{\"ports\":[{\"container\":80,\"host\":8080,\"protocol\":\"tcp\"},{\"container\":53,\"host\":0,"
         "\"protocol\":\"udp\"}]}"},
        {"-v data:/d:ro -v /anon", "{\"mounts\":[{\"target\":\"/d\",\"readonly\":true,\"volume\":\"data\"},"
                                   "{\"target\":\"/anon\",\"volume\":\"\"}]}"},
        {"--mount type=tmpfs,dst=/t,tmpfs-size=64m --tmpfs /u:size=1k",
         "{\"mounts\":[{\"target\":\"/t\",\"size\":67108864},{\"target\":\"/u\",\"size\":1024}]}"},
        {"--add-host a:1.2.3.4 --add-host b=::1 --network-alias x --hostname h",
         "{\"hosts\":[{\"name\":\"a\",\"address\":\"1.2.3.4\"},{\"name\":\"b\",\"address\":\"::1\"}],"
         "\"aliases\":["
         "\"x\"],\"hostname\":\"h\"}"},
        {"--network default --shm-size 1g --read-only",
         "{\"network\":\"bridge\",\"shm-size\":1073741824,\"read-only\":true}"},
        {"--label a=b -l c", "{\"labels\":{\"a\":\"b\",\"c\":\"\"}}"},
        {"--entrypoint /x --entrypoint ''", "{\"entrypoint\":[]}"},
        {"--gpus all", "error: the option '--gpus' is not supported by wherry's own engine of containers"},
        {"--privileged",
         "error: the option '--privileged' is not supported by wherry's own engine of containers"},
        {"-x", "error: the option '-x' is not supported by wherry's own engine of containers"},
        {"--name", "error: the option '--name' needs a value"},
        {"--health-interval soon", "error: --health-interval 'soon' is no duration like 10s"},
        {"--network container:x", "error: the network 'container:x' is not supported by wherry"},
        {"--mount type=npipe,dst=/x", "error: --mount of type 'npipe' is not supported by wherry"},
        {"-v a:/b:exec", "error: the mode 'exec' of the volume 'a:/b:exec' is not supported by wherry"},
        {"-v a:b", "error: the volume 'a:b' has no absolute path in the container"},
        {"-e \"A=b", "error: a quote is not closed: -e \"A=b"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *got = request_of(cases[i].text);
        assert_string_equal(got, cases[i].expected);
    }
}

/* "80:8080/tcp@1.2.3.4 ..." as host:container/protocol@address; or the error. Owned. */
static char *ports_of(const char *text)
{
    wh_autoerror err = {0};
    wh_autojson *request = cJSON_CreateObject();
    wh_autostr out = {0};
    const cJSON *port;
    if (wh_create_port(request, text, &err) < 0)
        return wh_printf("error: %s", wh_error_text(&err));
    cJSON_ArrayForEach(port, wh_json_get(request, "ports"))
    {
        const char *address = wh_json_string(port, "address");
        wh_str_addf(&out, "%s%lld:%lld/%s%s%s", out.len ? " " : "", (long long)wh_json_int(port, "host", -1),
                    (long long)wh_json_int(port, "container", -1), wh_json_string(port, "protocol"),
                    address ? "@" : "", address ? address : "");
    }
    return wh_str_steal(&out);
}

static void test_ports(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"80", "0:80/tcp"},
        {"80/udp", "0:80/udp"},
        {"8080:80", "8080:80/tcp"},
        {"127.0.0.1:8080:80", "8080:80/tcp@127.0.0.1"},
        {"127.0.0.1::80", "0:80/tcp@127.0.0.1"},
        {"[::1]:8080:80/udp", "8080:80/udp@::1"},
        {"8000-8002:80-82", "8000:80/tcp 8001:81/tcp 8002:82/tcp"},
        {"80-81", "0:80/tcp 0:81/tcp"},
        {"8000-8005:80", "8000:80/tcp"},
        {"8000-8001:80-82", "error: the port '8000-8001:80-82': the ranges are not of one length"},
        {"65535", "0:65535/tcp"},
        {"65536", "error: '65536' is no port: [[address:]port:]port[/tcp|/udp] is"},
        {"0", "error: '0' is no port: [[address:]port:]port[/tcp|/udp] is"},
        {"", "error: '' is no port: [[address:]port:]port[/tcp|/udp] is"},
        {"a:80", "error: 'a:80' is no port: [[address:]port:]port[/tcp|/udp] is"},
        {"1:2:3:80", "error: '1:2:3:80' is no port: [[address:]port:]port[/tcp|/udp] is"},
        {"80/sctp", "error: the port '80/sctp': sctp is not supported by wherry"},
        {"1-257", "error: a container can publish 256 ports"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *got = ports_of(cases[i].text);
        assert_string_equal(got, cases[i].expected);
    }
    wh_autofree char *most = ports_of("1-256");
    assert_true(wh_ends_with(most, " 0:256/tcp"));
}

static void test_bounds(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autojson *request = cJSON_CreateObject();
    for (unsigned i = 0; i < WH_MAX_CREATE_MOUNTS; i++)
        assert_int_equal(wh_create_volume(request, "/x", &err), 0);
    assert_int_equal(wh_create_volume(request, "/x", &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_autostr words = {0};
    for (unsigned i = 0; i < WH_MAX_CREATE_WORDS; i++)
        wh_str_add(&words, "a ");
    wh_autostrv char **most = wh_create_split(wh_str_text(&words), NULL);
    assert_int_equal(wh_strv_len(most), WH_MAX_CREATE_WORDS);
    wh_str_add(&words, "a");
    assert_null(wh_create_split(wh_str_text(&words), &err));
    wh_autofree char *big = wh_malloc(WH_MAX_CREATE_TEXT + 2);
    memset(big, 'a', WH_MAX_CREATE_TEXT + 1);
    big[WH_MAX_CREATE_TEXT] = '\0';
    wh_autostrv char **one = wh_create_split(big, NULL);
    assert_int_equal(wh_strv_len(one), 1);
    big[WH_MAX_CREATE_TEXT] = 'a';
    big[WH_MAX_CREATE_TEXT + 1] = '\0';
    assert_null(wh_create_split(big, &err));
    assert_int_equal(err.code, WH_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
