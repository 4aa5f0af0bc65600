/* Looks beside /proc/self/exe. */
#include "cmd/causeway/find.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int find_program(char *out, const char *name)
{
    char self[FIND_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) {
        return ERR_SYSTEM;
    }
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash) {
        return ERR_NOTFOUND;
    }
    *slash = '\0';
    /* Installed: bin/causeway-edge. Built: cmd/causeway/../edge/causeway-edge. */
    for (int built = 0; built < 2; built++) {
        int len = !built
                      ? snprintf(out, FIND_PATH_MAX, "%s/causeway-%s", self, name)
                      : snprintf(out, FIND_PATH_MAX, "%s/../%s/causeway-%s", self, name, name);
        if (len > 0 && len < FIND_PATH_MAX && access(out, X_OK) == 0) {
            return 0;
        }
    }
    return ERR_NOTFOUND;
}
