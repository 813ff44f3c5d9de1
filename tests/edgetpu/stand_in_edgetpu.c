/* A stand-in for libedgetpu, which drives hardware that is not here: a delegate that takes no op, so that the
 * interpreter runs them all on the CPU, and the ways in which the real library is known to fail.
 * EDGETPU_STAND_IN says which: unset works; "no device", "too old", "crash". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct delegate { /* TfLiteDelegate of TensorFlow Lite 2.14 */
    void *data;
    int (*prepare)(void *context, struct delegate *self);
    void *copy_from, *copy_to, *free_handle;
    int64_t flags;
    void *builder;
};

static int prepare(void *context, struct delegate *self) {
    (void)context;
    (void)self;
    return 0;
}

const char *edgetpu_version(void) { return "BuildLabel(stand-in), RuntimeVersion(13)"; }

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    const char *behaviour = getenv("EDGETPU_STAND_IN");
    (void)keys;
    (void)values;
    (void)count;
    if (behaviour != NULL && strcmp(behaviour, "crash") == 0) {
        abort();
    }
    if (behaviour != NULL && strcmp(behaviour, "no device") == 0) {
        return NULL;
    }
    if (behaviour != NULL && strcmp(behaviour, "too old") == 0) {
        report("Package requires runtime version (14), which is newer than this runtime version (13)");
        return NULL;
    }
    struct delegate *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->prepare = prepare;
    }
    return made;
}

void tflite_plugin_destroy_delegate(struct delegate *made) { free(made); }
