/* Whole images: built, exported in every form, pushed to docker-registry, checked by skopeo, pulled back into
 * a store. */
#include "helpers.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "wherry/oci/export.h"
#include "wherry/oci/pull.h"
#include "wherry/store/blob.h"
#include "wherry/store/layer.h"

static pid_t registry_pid;
static unsigned port;

/* A port that is free now. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    wh_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static bool answers(unsigned p)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)p)};
    wh_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static int start(void **state)
{
    wh_secrets_init();
    unsetenv("http_proxy");
    unsetenv("HTTP_PROXY");
    if (make_temp(state) < 0)
        return -1;
    if (access("/usr/bin/docker-registry", X_OK) < 0 || access("/usr/bin/skopeo", X_OK) < 0)
        return 0;
    port = free_port();
    wh_autofree char *path = temp_path("registry.yml"), *log_path = temp_path("registry.log");
    wh_autofree char *text =
        wh_printf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\n"
                  "http: {addr: '127.0.0.1:%u', secret: s}\n",
                  temp_dir, port);
    wh_write_file(AT_FDCWD, path, text, strlen(text), 0600, NULL);
    registry_pid = fork();
    if (registry_pid == 0) {
        int log = open(log_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        dup2(log, 1);
        dup2(log, 2);
        execl("/usr/bin/docker-registry", "docker-registry", "serve", path, NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !answers(port); i++)
        usleep(20000);
    return 0;
}

static int stop(void **state)
{
    if (registry_pid > 0) {
        kill(registry_pid, SIGTERM);
        waitpid(registry_pid, NULL, 0);
    }
    return drop_temp(state);
}

/* ---- an image of two layers, its blobs in a folder ---- */

struct image {
    struct wh_export_image image;
    struct wh_digest diff_ids[2];
    unsigned opened;
};

static int open_blob(void *data, const struct wh_digest *digest, struct wh_error *err)
{
    struct image *image = data;
    char text[WH_DIGEST_TEXT];
    wh_autofree char *path = temp_path(wh_digest_text(digest, text));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    image->opened++;
    return fd < 0 ? wh_fail_errno(err, "open %s", path) : fd;
}

static void make_layer(int dir, struct wh_descriptor *out, struct wh_digest *diff_id)
{
    wh_autostr blob = {0};
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_result r;
    char text[WH_DIGEST_TEXT];
    assert_int_equal(wh_layer_write(dir, &o, to_buffer, &blob, &r, NULL), 0);
    wh_autofree char *path = temp_path(wh_digest_text(&r.digest, text));
    assert_int_equal(wh_write_file(AT_FDCWD, path, blob.data, blob.len, 0600, NULL), 0);
    wh_descriptor_set(out, wh_layer_media_type(WH_COMPRESS_GZIP, false), &r.digest, (int64_t)r.size);
    *diff_id = r.diff_id;
}

static void make_image(struct image *image, const char *name)
{
    wh_autofree char *bottom_name = wh_printf("%s-bottom", name), *top_name = wh_printf("%s-top", name);
    wh_autoclose int bottom = new_folder(bottom_name);
    wh_autoclose int top = new_folder(top_name);
    struct wh_descriptor layers[2] = {{0}, {0}};
    struct wh_platform platform;
    mkdirat(bottom, "etc", 0755);
    put_text(bottom, "etc/name", name);
    put_text(bottom, "etc/gone", "gone");
    mkdirat(top, "etc", 0755);
    mknodat(top, "etc/gone", S_IFCHR, 0);
    put_text(top, "program", "#!/bin/sh\n");
    *image = (struct image){0};
    make_layer(bottom, &layers[0], &image->diff_ids[0]);
    make_layer(top, &layers[1], &image->diff_ids[1]);
    wh_platform_host(&platform);
    wh_autojson *config = wh_image_config_new(&platform);
    for (int i = 0; i < 2; i++) {
        wh_image_config_add_diff_id(config, &image->diff_ids[i]);
        wh_image_config_add_history(config, "2026-01-01T00:00:00Z", "COPY . . # buildkit", NULL, false);
    }
    wh_image_config_set_created(config, "2026-01-01T00:00:00Z");
    assert_int_equal(wh_export_image_build(config, layers, 2, false, NULL, &image->image, NULL), 0);
    wh_descriptor_clear(&layers[0]);
    wh_descriptor_clear(&layers[1]);
}

static void free_image(struct image *image)
{
    wh_export_image_clear(&image->image);
}

static void run(const char *format, ...) WH_PRINTF(1, 2);
static void run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    wh_autofree char *command = wh_vprintf(format, args);
    va_end(args);
    wh_autofree char *quiet = wh_printf("cd %s && %s >out 2>&1 || { cat out; false; }", temp_dir, command);
    if (system(quiet) != 0)
        fail_msg("%s", command);
}

/* ---- exporters ---- */

static void test_layouts(void **state)
{
    (void)state;
    struct image image;
    make_image(&image, "layout");
    char *names[] = {(char *)(uintptr_t) "docker.io/me/app:1", NULL};
    struct wh_export_set set = {
        .images = &image.image, .nimages = 1, .names = names, .created = "2026-01-01T00:00:00Z"};
    struct wh_blob_provider blobs = {.data = &image, .open = open_blob};
    wh_autoclose int dir = new_folder("oci");
    wh_autostr tar = {0}, again = {0}, docker = {0};
    wh_autoerror err = {0};
    if (wh_export_oci_dir(&set, &blobs, dir, &err) < 0 ||
        wh_export_archive(&set, &blobs, false, to_buffer, &tar, &err) < 0 ||
        wh_export_archive(&set, &blobs, false, to_buffer, &again, &err) < 0 ||
        wh_export_archive(&set, &blobs, true, to_buffer, &docker, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(tar.len, again.len);
    assert_memory_equal(tar.data, again.data, tar.len);
    wh_autofree char *oci_path = temp_path("oci.tar"), *docker_path = temp_path("docker.tar");
    wh_write_file(AT_FDCWD, oci_path, tar.data, tar.len, 0600, NULL);
    wh_write_file(AT_FDCWD, docker_path, docker.data, docker.len, 0600, NULL);
    python("import json, tarfile, os, hashlib\n"
           "i = json.load(open('oci/index.json'))\n"
           "assert open('oci/oci-layout').read() == '{\"imageLayoutVersion\":\"1.0.0\"}'\n"
           "a = i['manifests'][0]['annotations']\n"
           "assert a == {'io.containerd.image.name': 'docker.io/me/app:1', "
           "'org.opencontainers.image.created': '2026-01-01T00:00:00Z',"
           " 'org.opencontainers.image.ref.name': '1'}, a\n"
           "for b in os.listdir('oci/blobs/sha256'): assert hashlib.sha256(open('oci/blobs/sha256/' + b, "
           "'rb').read()).hexdigest() == b\n"
           "t = tarfile.open('oci.tar')\nn = t.getnames()\nassert n == sorted(n) and n[0] == 'blobs', n\n"
           "assert all((m.uid, m.gid, m.mtime) == (0, 0, 0) for m in t)\n"
           "assert [m.mode for m in t if m.name in ('index.json', 'oci-layout')] == [0o644, 0o444]\n"
           "d = tarfile.open('docker.tar')\nm = json.load(d.extractfile('manifest.json'))\n"
           "assert m[0]['RepoTags'] == ['me/app:1'] and len(m[0]['Layers']) == 2, m\n");
    if (registry_pid > 0) {
        run("skopeo inspect oci:oci:1");
        run("skopeo inspect oci-archive:oci.tar");
        run("skopeo --insecure-policy copy docker-archive:docker.tar oci:from-docker:x");
    }
    /* A blob that is not what its name says is not exported. */
    char text[WH_DIGEST_TEXT];
    wh_autofree char *path = temp_path(wh_digest_text(&image.image.layers[0].digest, text));
    wh_autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "X", 1, 20), 1);
    wh_str_clear(&again);
    assert_int_equal(wh_export_archive(&set, &blobs, false, to_buffer, &again, &err), -1);
    assert_int_equal(err.code, WH_E_CORRUPT);
    free_image(&image);
}

static void test_index(void **state)
{
    (void)state;
    struct image a, b;
    make_image(&a, "amd");
    make_image(&b, "arm");
    wh_platform_parse("linux/arm64", &b.image.platform, NULL);
    struct wh_export_image images[2] = {a.image, b.image};
    struct wh_export_set set = {.images = images, .nimages = 2};
    struct wh_descriptor root = {0};
    wh_autostr bytes = {0};
    wh_autoindex index = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_export_root(&set, &root, &bytes, NULL), 0);
    assert_int_equal(wh_index_parse(bytes.data, bytes.len, &index, NULL), 0);
    assert_int_equal(index.nmanifests, 2);
    assert_string_equal(index.manifests[1].platform.arch, "arm64");
    struct wh_blob_provider blobs = {.data = &a, .open = open_blob};
    wh_autostr tar = {0};
    assert_int_equal(wh_export_archive(&set, &blobs, true, to_buffer, &tar, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "one platform"));
    wh_descriptor_clear(&root);
    free_image(&a);
    free_image(&b);
}

static void test_local(void **state)
{
    (void)state;
    wh_autoclose int from = new_folder("local-from");
    wh_autoclose int to = new_folder("local-to");
    mkdirat(from, "d", 0711);
    put_file(from, "d/f", "12345", 5, 0750);
    linkat(from, "d/f", from, "h", 0);
    symlinkat("/etc/passwd", from, "s");
    put_text(to, "s", "old");
    struct timespec t[2] = {{1500000000, 0}, {1500000000, 0}};
    utimensat(from, "d", t, 0);
    for (int i = 0; i < 2; i++) { /* again, over what is there */
        assert_int_equal(wh_export_local(from, to, 1600000000, NULL), 0);
        assert_true(text_is(to, "d/f", "12345"));
        assert_int_equal(stat_of(to, "d/f").st_mtime, 1600000000);
        assert_int_equal(stat_of(to, "d").st_mtime, 1500000000);
        assert_int_equal(stat_of(to, "d").st_mode & 07777, 0711);
        assert_int_equal(stat_of(to, "h").st_ino, stat_of(to, "d/f").st_ino);
        assert_true(S_ISLNK(stat_of(to, "s").st_mode));
    }
}

/* ---- push and pull ---- */

static void free_registry(struct wh_registry **r)
{
    wh_registry_free(*r);
}

static void test_push_and_pull(void **state)
{
    (void)state;
    if (registry_pid == 0)
        skip();
    struct image image;
    make_image(&image, "pushed");
    wh_autofree char *one = wh_printf("127.0.0.1:%u/me/app:1", port),
                     *two = wh_printf("127.0.0.1:%u/you/app:latest", port);
    char *names[] = {one, two, NULL};
    struct wh_export_set set = {.images = &image.image, .nimages = 1, .names = names};
    struct wh_blob_provider blobs = {.data = &image, .open = open_blob};
    struct wh_push_stats stats = {0}, second = {0};
    wh_autoerror err = {0};
    __attribute__((cleanup(free_registry))) struct wh_registry *r = wh_registry_new(NULL, NULL, NULL);
    if (wh_export_push(&set, &blobs, r, NULL, &stats, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(stats.uploaded, 6);
    image.opened = 0;
    assert_int_equal(wh_export_push(&set, &blobs, r, NULL, &second, NULL), 0);
    assert_int_equal(second.existed, 6);
    assert_int_equal(second.uploaded_bytes, 0);
    assert_int_equal(image.opened, 0);
    run("skopeo --insecure-policy copy --src-tls-verify=false docker://%s oci:pushed:x", one);
    char text[WH_DIGEST_TEXT];
    run("test $(skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://%s) = %s", two,
        wh_digest_text(&image.image.manifest.digest, text));
    free_image(&image);
}

static void note(void *data, const char *line)
{
    struct wh_str *all = data;
    wh_str_addf(all, "%s\n", line);
}

static struct wh_store *open_store(const char *name)
{
    wh_autofree char *dir = temp_path(name);
    struct wh_store_options o = {.dir = dir};
    wh_autoerror err = {0};
    struct wh_store *s = wh_store_open(&o, &err);
    if (!s)
        fail_msg("%s", wh_error_text(&err));
    return s;
}

static void free_oci(struct wh_oci **oci)
{
    wh_oci_free(*oci);
}

static void test_pull_into_store(void **state)
{
    (void)state;
    if (registry_pid == 0)
        skip();
    wh_autofree char *text = wh_printf("127.0.0.1:%u/me/app:1", port);
    wh_autostr notices = {0};
    wh_autoref ref = {0};
    struct wh_platform platform;
    struct wh_oci_image *image = NULL;
    wh_autoerror err = {0};
    wh_autostore *store = open_store("state");
    __attribute__((cleanup(free_registry))) struct wh_registry *r = wh_registry_new(NULL, NULL, NULL);
    struct wh_oci_options o = {.scope = "repo:o/r", .notice = note, .data = &notices};
    __attribute__((cleanup(free_oci))) struct wh_oci *oci = wh_oci_new(store, r, &o);
    uint64_t received, sent, after;
    char digest[WH_DIGEST_TEXT];
    wh_platform_host(&platform);
    assert_int_equal(wh_ref_parse(text, &ref, NULL), 0);
    if (wh_oci_resolve(oci, &ref, &platform, WH_RESOLVE_DEFAULT, &image, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(image->nlayers, 2);
    /* Nothing of the layers was fetched so far. */
    assert_int_equal(wh_blob_has(store, &image->layers[0].descriptor.digest, NULL, NULL), 0);
    int64_t ids[2];
    if (wh_oci_ensure_trees(oci, image, 2, ids, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_autoclose int bottom = wh_layer_open(store, ids[0], NULL);
    wh_autoclose int top = wh_layer_open(store, ids[1], NULL);
    assert_true(text_is(bottom, "etc/name", "pushed"));
    assert_true(is_whiteout(top, "etc/gone"));
    wh_registry_traffic(r, &received, &sent);
    /* All of it is there now: neither trees nor blobs nor a pinned reference need the network. */
    int64_t again[2];
    assert_int_equal(wh_oci_ensure_trees(oci, image, 2, again, NULL), 0);
    assert_int_equal(again[0], ids[0]);
    assert_int_equal(again[1], ids[1]);
    assert_int_equal(wh_oci_layer_ensure_blob(oci, image, 1, NULL), 0);
    wh_registry_traffic(r, &after, &sent);
    assert_int_equal(after, received);
    kill(registry_pid, SIGSTOP);
    wh_autoref pinned = {0};
    wh_ref_copy(&pinned, &ref);
    free(pinned.tag);
    pinned.tag = NULL;
    pinned.has_digest = true;
    pinned.digest = image->resolved;
    struct wh_oci_image *offline = NULL;
    int resolved = wh_oci_resolve(oci, &pinned, &platform, WH_RESOLVE_DEFAULT, &offline, &err);
    kill(registry_pid, SIGCONT);
    if (resolved < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_oci_image_free(offline);
    /* A digest is no right: another repository, or a name that the registry never gave it for, has to ask. */
    wh_autoref stranger = {0};
    wh_autoerror refused = {0};
    struct wh_oci_image *stolen = NULL;
    wh_autofree char *other =
        wh_printf("127.0.0.1:%u/not/there@%s", port, wh_digest_text(&image->resolved, digest));
    assert_int_equal(wh_ref_parse(other, &stranger, NULL), 0);
    assert_int_equal(wh_oci_resolve(oci, &stranger, &platform, WH_RESOLVE_DEFAULT, &stolen, &refused), -1);
    assert_int_equal(refused.code, WH_E_NOT_FOUND);
    wh_oci_image_free(image);
}

/* A manifest names other bytes for a layer that the store has by its diffID: these were never looked at, so
 * nobody may be given them for it. */
static void test_unseen_blob_is_not_remembered(void **state)
{
    (void)state;
    if (registry_pid == 0)
        skip();
    wh_autofree char *text = wh_printf("127.0.0.1:%u/me/app:1", port);
    wh_autoref ref = {0};
    struct wh_platform platform;
    struct wh_oci_image *image = NULL;
    wh_autoerror err = {0};
    wh_autostore *store = open_store("state-unseen");
    __attribute__((cleanup(free_registry))) struct wh_registry *r = wh_registry_new(NULL, NULL, NULL);
    struct wh_oci_options o = {.scope = "repo:o/r"};
    __attribute__((cleanup(free_oci))) struct wh_oci *oci = wh_oci_new(store, r, &o);
    wh_platform_host(&platform);
    assert_int_equal(wh_ref_parse(text, &ref, NULL), 0);
    assert_int_equal(wh_oci_resolve(oci, &ref, &platform, WH_RESOLVE_DEFAULT, &image, &err), 0);
    assert_int_equal(wh_oci_layer_ensure_blob(oci, image, 0, &err), 0);
    struct wh_oci_layer *layer = &image->layers[0];
    struct wh_layer_blob real = {.digest = layer->descriptor.digest,
                                 .size = (uint64_t)layer->descriptor.size,
                                 .format = "gzip",
                                 .level = -1};
    struct wh_layer_blob found;
    int64_t id;
    assert_int_equal(wh_layer_blob_add(store, &layer->diff_id, &real, &err), 0);
    wh_digest_of("nowhere", 7, &layer->descriptor.digest);
    free(layer->descriptor.media_type);
    layer->descriptor.media_type = wh_strdup("application/vnd.oci.image.layer.v1.tar+zstd");
    if (wh_oci_layer_ensure_tree(oci, image, 0, &id, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(wh_blob_put(store, "nowhere", 7, 0, NULL, &err), 0);
    assert_int_equal(wh_layer_blob(store, &layer->diff_id, "zstd", -2, &found, &err), 0);
    assert_int_equal(wh_layer_blob(store, &layer->diff_id, "gzip", -2, &found, &err), 1);
    assert_true(wh_digest_eq(&found.digest, &real.digest));
    wh_oci_image_free(image);
}

/* A registry that is down: what the store knows of the tag serves. */
static void test_fallback(void **state)
{
    (void)state;
    if (registry_pid == 0)
        skip();
    wh_autofree char *text = wh_printf("127.0.0.1:%u/you/app", port);
    wh_autostr notices = {0};
    wh_autoref ref = {0};
    struct wh_platform platform;
    struct wh_oci_image *image = NULL;
    wh_autoerror err = {0}, err2 = {0};
    wh_autostore *store = open_store("state-fallback");
    struct wh_registry_options ro = {.retry_base_ms = 10};
    __attribute__((cleanup(free_registry))) struct wh_registry *r = wh_registry_new(NULL, &ro, NULL);
    struct wh_oci_options o = {.scope = "repo:o/r", .notice = note, .data = &notices};
    struct wh_oci *oci = wh_oci_new(store, r, &o);
    wh_platform_host(&platform);
    assert_int_equal(wh_ref_parse(text, &ref, NULL), 0);
    assert_int_equal(wh_oci_resolve(oci, &ref, &platform, WH_RESOLVE_DEFAULT, &image, &err), 0);
    wh_oci_image_free(image);
    wh_oci_free(oci);
    kill(registry_pid, SIGTERM);
    waitpid(registry_pid, NULL, 0);
    registry_pid = 0;
    oci = wh_oci_new(store, r, &o);
    assert_int_equal(wh_oci_resolve(oci, &ref, &platform, WH_RESOLVE_PULL, &image, &err2), -1);
    assert_int_equal(err2.code, WH_E_NETWORK);
    if (wh_oci_resolve(oci, &ref, &platform, WH_RESOLVE_DEFAULT, &image, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_non_null(strstr(wh_str_text(&notices), "the image that the store has of it is used"));
    wh_oci_image_free(image);
    wh_oci_free(oci);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),         cmocka_unit_test(test_index),
        cmocka_unit_test(test_local),           cmocka_unit_test(test_push_and_pull),
        cmocka_unit_test(test_pull_into_store), cmocka_unit_test(test_unseen_blob_is_not_remembered),
        cmocka_unit_test(test_fallback),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
