/* Runs a fuzzer's function over the files of its corpus: the fuzzers as ordinary tests. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INPUT_MAX = 1 << 20
};

/* In a block of the exact size, so that one byte too far is seen. */
static int replay(const char *path)
{
    static uint8_t input[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (!f) {
        return 1;
    }
    size_t n = fread(input, 1, sizeof input, f);
    (void)fclose(f);
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) {
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        exact[i] = input[i];
    }
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    int n = 0, failed = 0;
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    struct dirent *e;
    while (dir && (e = readdir(dir)) != NULL) {
        char path[4096];
        if (e->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
            failed += replay(path);
            n++;
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
    printf("1..1\n%s 1 %d files of the corpus, %d unreadable\n",
           n > 0 && !failed ? "ok" : "not ok", n, failed);
    return n == 0 || failed;
}
