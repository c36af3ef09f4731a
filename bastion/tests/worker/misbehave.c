/* A PAM module that does what no module should, as its first argument says. Built by the tests, loaded by real libpam. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <security/pam_modules.h>

static int ask(pam_handle_t *pamh, int count, const struct pam_message **messages, struct pam_response **responses) {
    const struct pam_conv *conv;
    if (pam_get_item(pamh, PAM_CONV, (const void **)&conv) != PAM_SUCCESS) return PAM_CONV_ERR;
    return conv->conv(count, messages, responses, conv->appdata_ptr);
}

/* One call with a text, two questions and another text. */
static int ask_all_at_once(pam_handle_t *pamh) {
    struct pam_message texts[] = {{PAM_TEXT_INFO, "welcome"}, {PAM_PROMPT_ECHO_OFF, "first: "},
                                  {PAM_PROMPT_ECHO_ON, "second: "}, {PAM_ERROR_MSG, "that is all"}};
    const struct pam_message *messages[] = {&texts[0], &texts[1], &texts[2], &texts[3]};
    struct pam_response *responses = NULL;
    int status = ask(pamh, 4, messages, &responses);
    if (status != PAM_SUCCESS) return status;
    int right = !responses[0].resp && !strcmp(responses[1].resp, "one") && !strcmp(responses[2].resp, "two") &&
                !responses[3].resp;
    for (int i = 0; i < 4; i++) free(responses[i].resp);
    free(responses);
    return right ? PAM_SUCCESS : PAM_AUTH_ERR;
}

static int ask_without_end(pam_handle_t *pamh) {
    for (;;) {
        struct pam_message text = {PAM_PROMPT_ECHO_ON, "again: "};
        const struct pam_message *messages[] = {&text};
        struct pam_response *responses = NULL;
        int status = ask(pamh, 1, messages, &responses);
        if (status != PAM_SUCCESS) return status;
        free(responses[0].resp);
        free(responses);
    }
}

static int ask_for_radio(pam_handle_t *pamh) {
    struct pam_message text = {PAM_RADIO_TYPE, "yes or no"};
    const struct pam_message *messages[] = {&text};
    struct pam_response *responses = NULL;
    return ask(pamh, 1, messages, &responses);
}

/* Succeeds when the file can be read and is not empty. */
static int read_file(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    return fd >= 0 && read(fd, &byte, 1) == 1 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

/* Succeeds when descriptor 3 is closed in the programs that a module starts. */
static int descriptor_is_hidden(void) {
    return system("test ! -e /proc/self/fd/3") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

static int misbehave(pam_handle_t *pamh, int argc, const char **argv) {
    const char *how = argc > 0 ? argv[0] : "";
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "exit")) _exit(0);
    if (!strcmp(how, "block")) for (;;) pause();
    if (!strcmp(how, "rename")) return pam_set_item(pamh, PAM_USER, "mallory");
    if (!strcmp(how, "expired")) return PAM_NEW_AUTHTOK_REQD;
    if (!strcmp(how, "ask")) return ask_all_at_once(pamh);
    if (!strcmp(how, "endless")) return ask_without_end(pamh);
    if (!strcmp(how, "radio")) return ask_for_radio(pamh);
    if (!strcmp(how, "descriptor")) return descriptor_is_hidden();
    if (!strncmp(how, "read=", 5)) return read_file(how + 5);
    return PAM_SERVICE_ERR;
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)flags;
    return misbehave(pamh, argc, argv);
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)flags;
    return misbehave(pamh, argc, argv);
}
