/* A driver library with the few functions that a miner asks of NVIDIA's own, for machines without
 * a GPU. GPUS in the environment has a line for each: "uuid|name|MiB|has energy counter|answers|is divided".
 * The energy counter is the number in the file that ENERGY_FILE names, in millijoules. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { MOST = 8 };

typedef struct {
    char uuid[96], name[96];
    unsigned long long mebibytes;
    int has_counter, answers, is_divided;
} Gpu;

static Gpu gpus[MOST];
static unsigned count;

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (getenv("DRIVER_IS_NOT_LOADED")) return DRIVER_NOT_LOADED;
    const char *line = getenv("GPUS");
    for (count = 0; line && *line && count < MOST; count++) {
        Gpu *gpu = &gpus[count];
        sscanf(line, "%95[^|]|%95[^|]|%llu|%d|%d|%d", gpu->uuid, gpu->name, &gpu->mebibytes,
               &gpu->has_counter, &gpu->answers, &gpu->is_divided);
        line = strchr(line, '\n');
        if (line) line++;
    }
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    return code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Some Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "570.86.15");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *found) {
    *found = count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    *gpu = &gpus[index];
    return gpus[index].answers ? SUCCESS : GPU_IS_LOST;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **gpu) {
    for (unsigned index = 0; index < count; index++)
        if (!strcmp(gpus[index].uuid, uuid)) {
            *gpu = &gpus[index];
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *text, unsigned size) {
    snprintf(text, size, "%s", gpu->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(Gpu *gpu, char *text, unsigned size) {
    snprintf(text, size, "%s", gpu->name);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, unsigned long long memory[3]) {
    memory[0] = gpu->mebibytes << 20; /* total, free, used */
    memory[1] = memory[0] / 4 * 3;
    memory[2] = memory[0] / 4;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Gpu *gpu, int *major, int *minor) {
    (void)gpu;
    *major = 9;
    *minor = 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    *current = *pending = gpu->is_divided;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Gpu *gpu, unsigned rates[2]) {
    (void)gpu;
    rates[0] = 73;
    rates[1] = 12;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Gpu *gpu, int sensor, unsigned *degrees) {
    (void)gpu, (void)sensor;
    *degrees = 41;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(Gpu *gpu, unsigned long long *millijoules) {
    const char *path = getenv("ENERGY_FILE");
    FILE *file = gpu->has_counter && path ? fopen(path, "r") : NULL;
    if (!file) return NOT_SUPPORTED;
    int read = fscanf(file, "%llu", millijoules);
    fclose(file);
    return read == 1 ? SUCCESS : NOT_SUPPORTED;
}
