/* Stands in for Pyxis, NVIDIA's container plug-in for Slurm: it takes the options of Pyxis and starts no container.
 * What was asked for arrives in the tasks as variables, without the word "container": --container-image=X becomes STUB_PYXIS_IMAGE=X,
 * and --no-container-mount-home becomes STUB_PYXIS_NO_MOUNT_HOME=1. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/spank.h>

SPANK_PLUGIN(stub_pyxis, 1);

static int given(int which, const char *value, int remote);

#define VALUE(name, what) {name, what, "[stub of pyxis] " what, 1, 0, given}
#define SWITCH(name) {name, NULL, "[stub of pyxis]", 0, 0, given}

static struct spank_option options[] = {
    VALUE("container-image", "IMAGE"),
    VALUE("container-mounts", "SRC:DST[:FLAGS][,...]"),
    VALUE("container-workdir", "PATH"),
    VALUE("container-name", "NAME"),
    VALUE("container-save", "PATH"),
    VALUE("container-env", "NAME[,NAME...]"),
    SWITCH("container-mount-home"),
    SWITCH("no-container-mount-home"),
    SWITCH("container-remap-root"),
    SWITCH("no-container-remap-root"),
    SWITCH("container-entrypoint"),
    SWITCH("no-container-entrypoint"),
    SWITCH("container-entrypoint-log"),
    SWITCH("container-writable"),
    SWITCH("container-readonly"),
    SPANK_OPTIONS_TABLE_END,
};

enum { COUNT = sizeof options / sizeof *options - 1 };

static char *values[COUNT];

static int given(int which, const char *value, int remote) {
    (void)remote;
    free(values[which]);
    values[which] = strdup(value && *value ? value : "1");
    return values[which] ? 0 : -1;
}

int slurm_spank_init(spank_t spank, int argc, char **argv) {
    (void)argc, (void)argv;
    spank_context_t where = spank_context();
    if (where != S_CTX_LOCAL && where != S_CTX_REMOTE && where != S_CTX_ALLOCATOR) return 0;
    for (int i = 0; i < COUNT; i++) {
        options[i].val = i;
        if (spank_option_register(spank, &options[i]) != ESPANK_SUCCESS) return -1;
    }
    return 0;
}

/* Runs in each task, before its program. */
int slurm_spank_task_init(spank_t spank, int argc, char **argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < COUNT; i++) {
        char name[64];
        const char *word = strstr(options[i].name, "container-");
        if (!values[i]) continue;
        snprintf(name, sizeof name, "STUB_PYXIS_%.*s%s", (int)(word - options[i].name), options[i].name,
                 word + strlen("container-"));
        for (char *c = name; *c; c++) *c = *c == '-' ? '_' : toupper((unsigned char)*c);
        if (spank_setenv(spank, name, values[i], 1) != ESPANK_SUCCESS) return -1;
    }
    return 0;
}
