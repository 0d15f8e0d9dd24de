/* A stand-in for libnvidia-ml.so.1, to run the real nvidia-ml-py without a GPU.
 *
 * What it answers is in the text file $NVML_STUB_STATE, one key=value a line, read anew at every
 * call: "count=2", "0.temperature=59" (GPU 0), "0.field.186.0=629450" (field 186 in scope 0).
 * "error:15" as a value returns that NVML error; a key that is absent is "not supported";
 * "hang" waits until the file says otherwise. Every call is noted in $NVML_STUB_TRACE.
 * With -DOLD the symbols that came after driver 470 are left out.
 * Layouts and versions of the structures: NVIDIA's nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, VERSION_MISMATCH = 25 };
enum { GPUS = 8, SIZE = 256 };

typedef struct { int index; } gpu_t;
static gpu_t gpus[GPUS];

static void trace(const char *name) {
    const char *path = getenv("NVML_STUB_TRACE");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) { fprintf(file, "%s\n", name); fclose(file); }
}

static int find(const char *key, char *value) {
    const char *path = getenv("NVML_STUB_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[SIZE];
    size_t length = strlen(key);
    int found = 0;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == '=') {
            snprintf(value, SIZE, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int answer(const gpu_t *gpu, const char *name, char *value) {
    char key[SIZE];
    struct timespec pause = {0, 2000000};
    if (gpu) snprintf(key, sizeof key, "%d.%s", gpu->index, name);
    else snprintf(key, sizeof key, "%s", name);
    for (;;) {
        if (find("all", value) && strcmp(value, "hang"))
            return atoi(value + strlen("error:"));
        if (!find("all", value) && (!find(key, value) || strcmp(value, "hang"))) break;
        nanosleep(&pause, NULL);
    }
    if (!find(key, value)) return NOT_SUPPORTED;
    return strncmp(value, "error:", 6) ? SUCCESS : atoi(value + 6);
}

static int number(const gpu_t *gpu, const char *name, long long *out) {
    char value[SIZE];
    int code = answer(gpu, name, value);
    if (!code) *out = strtoll(value, NULL, 0);
    return code;
}

static int text(const gpu_t *gpu, const char *name, char *out, unsigned size) {
    char value[SIZE];
    int code = answer(gpu, name, value);
    if (!code) snprintf(out, size, "%s", value);
    return code;
}

#define UNSIGNED(symbol, name) \
    int symbol(gpu_t *gpu, unsigned *out) { \
        long long value; trace(#symbol); \
        int code = number(gpu, name, &value); \
        if (!code) *out = (unsigned)value; \
        return code; }
#define WIDE(symbol, name) \
    int symbol(gpu_t *gpu, unsigned long long *out) { \
        long long value; trace(#symbol); \
        int code = number(gpu, name, &value); \
        if (!code) *out = (unsigned long long)value; \
        return code; }

int nvmlInitWithFlags(unsigned flags) {
    char value[SIZE];
    (void)flags; trace("nvmlInitWithFlags");
    for (int i = 0; i < GPUS; i++) gpus[i].index = i;
    int code = answer(NULL, "init", value);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}
int nvmlShutdown(void) { trace("nvmlShutdown"); return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }

int nvmlDeviceGetCount_v2(unsigned *out) {
    long long value;
    int code = number(NULL, "count", &value);
    if (!code) *out = (unsigned)value;
    return code;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **out) {
    char value[SIZE];
    long long count = 0;
    int code = number(NULL, "count", &count);
    if (code) return code;
    if ((long long)index >= count) return INVALID_ARGUMENT;
    *out = &gpus[index];
    code = answer(*out, "handle", value);
    return code == NOT_SUPPORTED ? SUCCESS : code;
}
int nvmlDeviceGetName(gpu_t *gpu, char *out, unsigned size) { return text(gpu, "name", out, size); }
int nvmlDeviceGetUUID(gpu_t *gpu, char *out, unsigned size) { return text(gpu, "uuid", out, size); }

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_t;
int nvmlDeviceGetPciInfo_v3(gpu_t *gpu, pci_t *out) {
    memset(out, 0, sizeof *out);
    return text(gpu, "bus", out->bus_id, sizeof out->bus_id);
}

int nvmlDeviceGetTemperature(gpu_t *gpu, unsigned sensor, unsigned *out) {
    long long value;
    (void)sensor; trace("nvmlDeviceGetTemperature");
    int code = number(gpu, "temperature", &value);
    if (!code) *out = (unsigned)value;
    return code;
}
int nvmlDeviceGetTemperatureThreshold(gpu_t *gpu, unsigned which, unsigned *out) {
    char name[SIZE];
    long long value;
    trace("nvmlDeviceGetTemperatureThreshold");
    snprintf(name, sizeof name, "threshold.%u", which);
    int code = number(gpu, name, &value);
    if (!code) *out = (unsigned)value;
    return code;
}
WIDE(nvmlDeviceGetCurrentClocksThrottleReasons, "reasons")
UNSIGNED(nvmlDeviceGetPowerUsage, "power_mw")
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit, "limit_mw")
WIDE(nvmlDeviceGetTotalEnergyConsumption, "energy_mj")

typedef struct { unsigned long long total, left, used; } memory_t;
int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *out) {
    long long total, used;
    int code = number(gpu, "memory_total", &total);
    if (!code) code = number(gpu, "memory_used", &used);
    if (code) return code;
    out->total = (unsigned long long)total;
    out->used = (unsigned long long)used;
    out->left = out->total - out->used;
    return SUCCESS;
}
typedef struct { unsigned gpu, memory; } rates_t;
int nvmlDeviceGetUtilizationRates(gpu_t *gpu, rates_t *out) {
    long long value;
    int code = number(gpu, "utilization", &value);
    if (code) return code;
    out->gpu = (unsigned)value;
    out->memory = 0;
    return SUCCESS;
}
int nvmlDeviceGetMigMode(gpu_t *gpu, unsigned *current, unsigned *pending) {
    long long value;
    int code = number(gpu, "mig", &value);
    if (code) return code;
    *current = *pending = (unsigned)value;
    return SUCCESS;
}

#ifndef OLD
typedef struct { unsigned version, sensor; int temperature; } temperature_v1_t;
int nvmlDeviceGetTemperatureV(gpu_t *gpu, temperature_v1_t *out) {
    long long value;
    trace("nvmlDeviceGetTemperatureV");
    if (out->version != (sizeof *out | 1u << 24)) return VERSION_MISMATCH;
    int code = number(gpu, "temperature", &value);
    if (!code) out->temperature = (int)value;
    return code;
}
typedef struct { unsigned version; int margin; } margin_v1_t;
int nvmlDeviceGetMarginTemperature(gpu_t *gpu, margin_v1_t *out) {
    long long value;
    trace("nvmlDeviceGetMarginTemperature");
    if (out->version != (sizeof *out | 1u << 24)) return VERSION_MISMATCH;
    int code = number(gpu, "margin", &value);
    if (!code) out->margin = (int)value;
    return code;
}
WIDE(nvmlDeviceGetCurrentClocksEventReasons, "reasons")

typedef struct { unsigned version; unsigned long long total, reserved, left, used; } memory_v2_t;
int nvmlDeviceGetMemoryInfo_v2(gpu_t *gpu, memory_v2_t *out) {
    long long total, used, reserved = 0;
    if (out->version != (sizeof *out | 2u << 24)) return VERSION_MISMATCH;
    int code = number(gpu, "memory_total", &total);
    if (!code) code = number(gpu, "memory_used_v2", &used);
    if (code) return code;
    number(gpu, "memory_reserved", &reserved);
    out->total = (unsigned long long)total;
    out->used = (unsigned long long)used;
    out->reserved = (unsigned long long)reserved;
    out->left = out->total - out->used - out->reserved;
    return SUCCESS;
}

typedef union { double d; unsigned u; unsigned long long q; long long sq; int s; } value_t;
typedef struct {
    unsigned field, scope;
    long long at_us, took_us;
    unsigned type, code;
    value_t value;
} field_t;
int nvmlDeviceGetFieldValues(gpu_t *gpu, int count, field_t *fields) {
    trace("nvmlDeviceGetFieldValues");
    for (int i = 0; i < count; i++) {
        char name[SIZE], value[SIZE];
        snprintf(name, sizeof name, "field.%u.%u", fields[i].field, fields[i].scope);
        fields[i].code = (unsigned)answer(gpu, name, value);
        fields[i].value.q = 0;
        if (fields[i].code) continue;
        if (value[0] == '-') { fields[i].type = 5; fields[i].value.s = atoi(value); }
        else if (strlen(value) > 9) { fields[i].type = 3; fields[i].value.q = strtoull(value, 0, 0); }
        else { fields[i].type = 1; fields[i].value.u = (unsigned)strtoul(value, 0, 0); }
    }
    return SUCCESS;
}
#endif
