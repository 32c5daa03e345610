/* What a supervisor hears of the process. */
#include "suite.h"

#include "app/notify.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A datagram socket at path ('@': abstract); told what arrives on it. */
static void listen_and_tell(const char *path, const char *env, const char *expected)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char got[64] = "";
    size_t n = strlen(path);
    memcpy(at.sun_path, path, n);
    if (path[0] == '@')
        at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
        0);
    if (env != NULL)
        assert_int_equal(setenv("NOTIFY_SOCKET", env, 1), 0);
    else
        unsetenv("NOTIFY_SOCKET");
    qv_notify("READY=1");
    ssize_t bytes = recv(fd, got, sizeof got - 1, 0);
    assert_int_equal(bytes, expected[0] == '\0' ? -1 : (ssize_t)strlen(expected));
    assert_string_equal(got, expected);
    close(fd);
}

static void supervisors_are_told(void **state)
{
    (void)state;
    char path[64];
    char abstract[64];
    char dir[] = "/tmp/quiver-notify-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    snprintf(abstract, sizeof abstract, "@quiver-notify-%ld", (long)getpid());
    listen_and_tell(path, path, "READY=1");
    unlink(path);
    listen_and_tell(abstract, abstract, "READY=1");
    listen_and_tell(path, NULL, "");
    unlink(path);
    listen_and_tell(path, "", "");
    unlink(path);
    listen_and_tell(path, "relative/socket", "");
    unlink(path);
    listen_and_tell(path, "/nowhere/there", "");
    unlink(path);
    char wide[300];
    memset(wide, 'a', sizeof wide - 1);
    wide[0] = '/';
    wide[sizeof wide - 1] = '\0';
    listen_and_tell(path, wide, "");
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(supervisors_are_told)};
    return RUN_SUITE(tests);
}
