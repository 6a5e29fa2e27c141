/* Images of the job's engine, for the docker command. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/docker.h"
#include "wherry/base/fs.h"
#include "wherry/oci/reference.h"

cJSON *docker_request(const char *type, const char *name, const char *value)
{
    cJSON *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", type);
    if (name)
        wh_json_add_string(request, name, value);
    return request;
}

/* ---- images ---- */

int docker_pull(int argc, char **argv)
{
    bool quiet = false;
    const char *image = NULL;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            quiet = true;
        else if (argv[i][0] == '-')
            return docker_refuse("pull", argv[i]);
        else
            image = argv[i];
    }
    if (!image) {
        fputs("docker pull: an image is needed\n", stderr);
        return 1;
    }
    cJSON *request = docker_request("pull", "image", image);
    wh_autojson *result = NULL;
    wh_engine_add_login(request, image);
    int code = docker_ask(request, NULL, 0, &result);
    if (code == 0 && !quiet)
        printf("Digest: %s\nStatus: Image is up to date for %s\n", wh_json_string(result, "digest"), image);
    if (code == 0)
        printf("%s\n", image);
    return code;
}

/* A build of what it is already, with another output: the layers are there, and no bytes are made anew. */
static int export_as(const char *image, const char *output, bool push)
{
    wh_autojson *result = NULL;
    cJSON *request = docker_request("pull", "image", image);
    cJSON_AddBoolToObject(request, "pull", false);
    wh_engine_add_login(request, image);
    if (docker_ask(request, NULL, 0, &result) != 0)
        return 1;
    char folder[] = "/tmp/wherry-docker-XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    wh_autofree char *file = wh_path_join(folder, "Dockerfile");
    wh_autofree char *text = wh_printf("FROM %s\n", wh_json_string(result, "name"));
    char *argv[] = {"build",
                    "--quiet",
                    "-t",
                    (char *)image,
                    (char *)(push ? "--push" : "--output"),
                    (char *)(push ? folder : output),
                    folder,
                    NULL};
    int code = 1;
    if (wh_write_file_quick(AT_FDCWD, file, text, strlen(text), 0600, NULL) == 0)
        code = docker_build(push ? 6 : 7, argv);
    (void)wh_remove_tree(AT_FDCWD, folder, NULL);
    return code;
}

int docker_push(int argc, char **argv)
{
    const char *image = NULL;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            continue;
        if (argv[i][0] == '-')
            return docker_refuse("push", argv[i]);
        image = argv[i];
    }
    return image ? export_as(image, NULL, true) : docker_refuse("push", "a call without an image");
}

int docker_save(int argc, char **argv)
{
    const char *image = NULL;
    const char *file = NULL;
    for (int i = 1; i < argc; i++) {
        if ((wh_streq(argv[i], "-o") || wh_streq(argv[i], "--output")) && i + 1 < argc)
            file = argv[++i];
        else if (argv[i][0] == '-')
            return docker_refuse("save", argv[i]);
        else if (image)
            return docker_refuse("save", "more than one image");
        else
            image = argv[i];
    }
    if (!image)
        return docker_refuse("save", "a call without an image");
    wh_autofree char *output = wh_printf("type=docker,dest=%s", file ? file : "/dev/stdout");
    return export_as(image, output, false);
}

int docker_tag(int argc, char **argv)
{
    if (argc != 3)
        return docker_refuse("tag", "anything but SOURCE TARGET");
    cJSON *request = docker_request("tag", "source", argv[1]);
    wh_json_add_string(request, "target", argv[2]);
    wh_engine_add_login(request, argv[1]);
    return docker_ask(request, NULL, 0, NULL);
}

int docker_images(int argc, char **argv)
{
    bool quiet = argc > 1 && (wh_streq(argv[1], "-q") || wh_streq(argv[1], "--quiet"));
    if (argc > (quiet ? 2 : 1))
        return docker_refuse("images", argv[argc - 1]);
    wh_autojson *result = NULL;
    if (docker_ask(docker_request("list", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    if (!quiet)
        printf("%-50s %s\n", "NAME", "DIGEST");
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "images"))
    {
        const char *digest = cJSON_IsString(one) ? strchr(one->valuestring, '@') : NULL;
        wh_autoref ref = {0};
        wh_autofree char *name = wh_ref_parse(one->string, &ref, NULL) == 0 ? wh_ref_familiar(&ref) : NULL;
        if (quiet)
            printf("%s\n", digest ? digest + 1 : "");
        else
            printf("%-50s %s\n", name ? name : one->string, digest ? digest + 1 : "");
    }
    return 0;
}

/* From a file or standard input, as `docker save` writes it. */
int docker_load(int argc, char **argv)
{
    const char *file = NULL;
    bool quiet = false;
    for (int i = 1; i < argc; i++) {
        if ((wh_streq(argv[i], "-i") || wh_streq(argv[i], "--input")) && i + 1 < argc)
            file = argv[++i];
        else if (wh_starts_with(argv[i], "--input="))
            file = argv[i] + strlen("--input=");
        else if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            quiet = true;
        else
            return docker_refuse("load", argv[i]);
    }
    wh_autoclose int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        perror(file ? file : "docker load: standard input");
        return 1;
    }
    wh_autojson *result = NULL;
    if (docker_ask(docker_request("load", NULL, NULL), &fd, 1, &result) != 0)
        return 1;
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "loaded"))
    {
        const char *name = wh_json_string(one, "name");
        if (!quiet)
            printf(name ? "Loaded image: %s\n" : "Loaded image ID: %s\n",
                   name ? name : wh_json_string(one, "id"));
    }
    return 0;
}
