/* A PKCS#11 module in front of another one: it waits, loses its token, hangs, errs as it is told.
 *
 * Every call goes to the module that the control file names, after what the control file says has
 * happened to it: a network HSM's round trip, a token that was pulled out, a call that never comes
 * back, a PIN that is refused, an error now and then, handles that mean other keys.
 *
 * The control file lies beside this library, is called like it with ".control" behind, and is mapped
 * into memory: whoever writes it (loadtest/pkcs11/control.py) changes the next call. What a fault
 * meets are this process' calls only; the token behind it is always well.
 *
 * No header of anybody's is used. In PKCS#11 2.40 each argument of each function is a machine word
 * (CK_ULONG or a pointer), but for the first of C_GetSlotList, which is a byte; the order of the
 * functions in their list is that of pkcs11f.h and never changes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)(void);

enum { OK = 0x0, FUNCTION_FAILED = 0x6, PIN_INCORRECT = 0xA0, TOKEN_NOT_PRESENT = 0xE0 };

/* Mirrored by control.py: version 1, all little-endian words of 4 bytes but the counters. */
struct control {
    char magic[8];                    /* "pkrelay1" */
    _Atomic uint32_t latency_us;      /* each call that travels takes so much longer */
    _Atomic uint32_t removed;         /* not 0: the token is gone, and this is what calls return */
    _Atomic uint32_t hang;            /* so many calls from now on never come back */
    _Atomic uint32_t wrong_pin;       /* not 0: C_Login refuses, and the token never sees the PIN */
    _Atomic uint32_t error_one_in;    /* one in so many calls that travel fails, at random */
    _Atomic uint32_t reissued;        /* a library that began before the last change of this uses
                                         handles that mean other keys by now */
    _Atomic uint64_t calls, signatures, faults;
    char unused[456];
    char target[3584];                /* path of the module behind, NUL-terminated; at 512 */
};

static struct control *control;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* X(name, arity, kind). Kinds: S has a session, T travels to the HSM, L neither. The *Init functions
 * and C_FindObjects do not travel: client libraries keep what they say until there is work to send. */
#define FUNCTIONS(X) \
    X(Initialize, 1, L) X(Finalize, 1, L) X(GetInfo, 1, L) X(GetFunctionList, 1, L) \
    X(GetSlotList, 3, L) X(GetSlotInfo, 2, L) X(GetTokenInfo, 2, L) X(GetMechanismList, 3, L) \
    X(GetMechanismInfo, 3, L) X(InitToken, 4, T) X(InitPIN, 3, T) X(SetPIN, 5, T) \
    X(OpenSession, 5, T) X(CloseSession, 1, T) X(CloseAllSessions, 1, L) X(GetSessionInfo, 2, S) \
    X(GetOperationState, 3, T) X(SetOperationState, 5, T) X(Login, 4, T) X(Logout, 1, T) \
    X(CreateObject, 4, T) X(CopyObject, 5, T) X(DestroyObject, 2, T) X(GetObjectSize, 3, T) \
    X(GetAttributeValue, 4, T) X(SetAttributeValue, 4, T) X(FindObjectsInit, 3, T) \
    X(FindObjects, 4, S) X(FindObjectsFinal, 1, S) X(EncryptInit, 3, S) X(Encrypt, 5, T) \
    X(EncryptUpdate, 5, T) X(EncryptFinal, 3, T) X(DecryptInit, 3, S) X(Decrypt, 5, T) \
    X(DecryptUpdate, 5, T) X(DecryptFinal, 3, T) X(DigestInit, 2, S) X(Digest, 5, T) \
    X(DigestUpdate, 3, T) X(DigestKey, 2, T) X(DigestFinal, 3, T) X(SignInit, 3, S) X(Sign, 5, T) \
    X(SignUpdate, 3, T) X(SignFinal, 3, T) X(SignRecoverInit, 3, S) X(SignRecover, 5, T) \
    X(VerifyInit, 3, S) X(Verify, 5, T) X(VerifyUpdate, 3, T) X(VerifyFinal, 3, T) \
    X(VerifyRecoverInit, 3, S) X(VerifyRecover, 5, T) X(DigestEncryptUpdate, 5, T) \
    X(DecryptDigestUpdate, 5, T) X(SignEncryptUpdate, 5, T) X(DecryptVerifyUpdate, 5, T) \
    X(GenerateKey, 5, T) X(GenerateKeyPair, 8, T) X(WrapKey, 6, T) X(UnwrapKey, 8, T) \
    X(DeriveKey, 6, T) X(SeedRandom, 3, T) X(GenerateRandom, 3, T) X(GetFunctionStatus, 1, S) \
    X(CancelFunction, 1, S) X(WaitForSlotEvent, 3, L)

enum which {
#define X(name, arity, kind) at_##name,
    FUNCTIONS(X)
#undef X
    functions_all
};

struct list {
    unsigned char major, minor;
    function functions[functions_all];
};
static const struct list *behind;
static struct list ours;

/* ------------------------------------------------------------------ faults */

static void wait_us(uint32_t us)
{
    struct timespec left = {us / 1000000, (long)(us % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0)
        ;
}

static int chance(uint32_t one_in)
{
    static _Thread_local uint64_t state;
    if (state == 0)
        state = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)&state ^ (uint64_t)getpid() << 32;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % one_in == 0;
}

static int one_hangs(void)
{
    uint32_t left = atomic_load(&control->hang);
    while (left != 0)
        if (atomic_compare_exchange_weak(&control->hang, &left, left - 1))
            return 1;
    return 0;
}

enum kind { L, S, T };

/* What happens to a call before it is passed on: OK, or what it returns instead. */
static word before(enum kind kind, int asks_length)
{
    atomic_fetch_add(&control->calls, 1);
    if (one_hangs()) {
        atomic_fetch_add(&control->faults, 1);
        for (;;)
            pause();
    }
    if (kind == T && !asks_length) {
        uint32_t latency = atomic_load(&control->latency_us);
        if (latency != 0)
            wait_us(latency);
    }
    word removed = atomic_load(&control->removed);
    if (removed != 0 && kind != L) {
        atomic_fetch_add(&control->faults, 1);
        return removed;
    }
    return OK;
}

/* What a call returns: what the module said, or an answer that was lost on its way. The module has had
 * the call in any case: one that is refused unseen would leave a signing begun with SignInit under way,
 * which no module does. */
static word after(enum kind kind, int asks_length, word result)
{
    uint32_t one_in = atomic_load(&control->error_one_in);
    if (one_in == 0 || kind != T || asks_length || !chance(one_in))
        return result;
    atomic_fetch_add(&control->faults, 1);
    return FUNCTION_FAILED;
}

/* ------------------------------------------------------------------ handles that mean other keys */

/* Keys that this process made, in a ring: after `reissued` has changed, each handle means the next. */
enum { HANDLES = 1 << 20 };
static _Atomic uint32_t next_of[HANDLES];
static word first, last;
static uint32_t born;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static void made(word handle)
{
    if (handle >= HANDLES)
        return;
    pthread_mutex_lock(&making);
    if (first == 0)
        first = handle;
    else
        atomic_store(&next_of[last], (uint32_t)handle);
    atomic_store(&next_of[handle], (uint32_t)first);
    last = handle;
    pthread_mutex_unlock(&making);
}

static word meant(word handle)
{
    if (atomic_load(&control->reissued) == born || handle >= HANDLES)
        return handle;
    uint32_t other = atomic_load(&next_of[handle]);
    return other != 0 ? other : handle;
}

/* ------------------------------------------------------------------ passing on */

#define W1 word a
#define W2 W1, word b
#define W3 W2, word c
#define W4 W3, word d
#define W5 W4, word e
#define W6 W5, word f
#define W8 W6, word g, word h
#define V1 a
#define V2 V1, b
#define V3 V2, c
#define V4 V3, d
#define V5 V4, e
#define V6 V5, f
#define V8 V6, g, h
#define PASS(name, arity) ((word(*)(W##arity))behind->functions[at_##name])(V##arity)

#define PLAIN(name, arity, kind) \
    static word relay_##name(W##arity) \
    { \
        word refused = before(kind, 0); \
        return refused != OK ? refused : after(kind, 0, PASS(name, arity)); \
    }

/* A call whose output pointer is NULL only asks how long the output would be. */
#define WITH_OUTPUT(name, arity, output) \
    static word relay_##name(W##arity) \
    { \
        word refused = before(T, (output) == 0); \
        return refused != OK ? refused : after(T, (output) == 0, PASS(name, arity)); \
    }

#define MAKES_KEY(name, arity, handle) \
    static word relay_##name(W##arity) \
    { \
        word result = before(T, 0); \
        if (result == OK) \
            result = PASS(name, arity); \
        if (result == OK) \
            made(*(word *)(handle)); \
        return after(T, 0, result); \
    }

PLAIN(Finalize, 1, L) PLAIN(GetInfo, 1, L) PLAIN(GetSlotInfo, 2, L) PLAIN(GetMechanismList, 3, L)
PLAIN(GetMechanismInfo, 3, L) PLAIN(InitToken, 4, T) PLAIN(InitPIN, 3, T) PLAIN(SetPIN, 5, T)
PLAIN(CloseSession, 1, T) PLAIN(CloseAllSessions, 1, L) PLAIN(GetSessionInfo, 2, S)
PLAIN(GetOperationState, 3, T) PLAIN(SetOperationState, 5, T) PLAIN(Logout, 1, T)
PLAIN(CopyObject, 5, T) PLAIN(DestroyObject, 2, T) PLAIN(GetObjectSize, 3, T)
PLAIN(GetAttributeValue, 4, T) PLAIN(SetAttributeValue, 4, T) PLAIN(FindObjectsInit, 3, T)
PLAIN(FindObjects, 4, S) PLAIN(FindObjectsFinal, 1, S) PLAIN(EncryptInit, 3, S)
PLAIN(DecryptInit, 3, S) PLAIN(DigestInit, 2, S) PLAIN(DigestUpdate, 3, T) PLAIN(DigestKey, 2, T)
PLAIN(SignUpdate, 3, T) PLAIN(SignRecoverInit, 3, S) PLAIN(VerifyInit, 3, S) PLAIN(Verify, 5, T)
PLAIN(VerifyUpdate, 3, T) PLAIN(VerifyFinal, 3, T) PLAIN(VerifyRecoverInit, 3, S)
PLAIN(GenerateKey, 5, T) PLAIN(GenerateKeyPair, 8, T) PLAIN(DeriveKey, 6, T) PLAIN(SeedRandom, 3, T)
PLAIN(GenerateRandom, 3, T) PLAIN(GetFunctionStatus, 1, S) PLAIN(CancelFunction, 1, S)
PLAIN(WaitForSlotEvent, 3, L)

WITH_OUTPUT(Encrypt, 5, d) WITH_OUTPUT(EncryptUpdate, 5, d) WITH_OUTPUT(EncryptFinal, 3, b)
WITH_OUTPUT(Decrypt, 5, d) WITH_OUTPUT(DecryptUpdate, 5, d) WITH_OUTPUT(DecryptFinal, 3, b)
WITH_OUTPUT(Digest, 5, d) WITH_OUTPUT(DigestFinal, 3, b) WITH_OUTPUT(SignFinal, 3, b)
WITH_OUTPUT(SignRecover, 5, d) WITH_OUTPUT(VerifyRecover, 5, d)
WITH_OUTPUT(DigestEncryptUpdate, 5, d) WITH_OUTPUT(DecryptDigestUpdate, 5, d)
WITH_OUTPUT(SignEncryptUpdate, 5, d) WITH_OUTPUT(DecryptVerifyUpdate, 5, d)
WITH_OUTPUT(WrapKey, 6, e)

MAKES_KEY(CreateObject, 4, d) MAKES_KEY(UnwrapKey, 8, h)

static word relay_Initialize(word a)
{
    word refused = before(L, 0);
    if (refused != OK)
        return refused;
    pthread_mutex_lock(&making);
    memset((void *)next_of, 0, sizeof next_of);
    first = last = 0;
    born = atomic_load(&control->reissued);
    pthread_mutex_unlock(&making);
    return PASS(Initialize, 1);
}

static word relay_GetSlotList(unsigned char a, word b, word c)
{
    word refused = before(L, 0);
    if (refused != OK)
        return refused;
    if (a != 0 && atomic_load(&control->removed) != 0) {
        *(word *)c = 0;
        return OK;
    }
    return ((word(*)(unsigned char, word, word))behind->functions[at_GetSlotList])(a, b, c);
}

static word relay_GetTokenInfo(word a, word b)
{
    word refused = before(L, 0);
    if (refused == OK && atomic_load(&control->removed) != 0)
        refused = TOKEN_NOT_PRESENT;
    return refused != OK ? refused : PASS(GetTokenInfo, 2);
}

static word relay_OpenSession(word a, word b, word c, word d, word e)
{
    word refused = before(T, 0);
    return refused != OK ? refused : after(T, 0, PASS(OpenSession, 5));
}

static word relay_Login(word a, word b, word c, word d)
{
    word refused = before(T, 0);
    if (refused == OK && atomic_load(&control->wrong_pin) != 0) {
        atomic_fetch_add(&control->faults, 1);
        refused = PIN_INCORRECT;
    }
    return refused != OK ? refused : after(T, 0, PASS(Login, 4));
}

static word relay_SignInit(word a, word b, word c)
{
    word refused = before(S, 0);
    if (refused != OK)
        return refused;
    c = meant(c);
    return PASS(SignInit, 3);
}

static word relay_Sign(word a, word b, word c, word d, word e)
{
    word result = before(T, d == 0);
    if (result == OK)
        result = PASS(Sign, 5);
    if (result == OK && d != 0)
        atomic_fetch_add(&control->signatures, 1);
    return after(T, d == 0, result);
}

/* ------------------------------------------------------------------ the module */

static word relay_GetFunctionList(word a)
{
    *(const struct list **)a = &ours;
    return OK;
}

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "relay.so: %s: %s\n", what, which);
}

static void load(void)
{
    Dl_info info;
    char path[4096];
    if (dladdr((void *)&once, &info) == 0
        || snprintf(path, sizeof path, "%s.control", info.dli_fname) >= (int)sizeof path)
        return fail("cannot say where I lie", "");
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return fail("no control file", path);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED || memcmp(mapped, "pkrelay1", 8) != 0)
        return fail("not a control file", path);
    control = mapped;
    void *library = dlopen(control->target, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return fail("cannot load", dlerror());
    word (*get)(const struct list **) =
        (word(*)(const struct list **))dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&behind) != OK)
        return fail("no PKCS#11 module", control->target);
    ours.major = behind->major;
    ours.minor = behind->minor;
#define X(name, arity, kind) ours.functions[at_##name] = (function)relay_##name;
    FUNCTIONS(X)
#undef X
}

_Static_assert(sizeof(struct control) == 4096, "control.py writes 4096 bytes");
_Static_assert(functions_all == 68, "PKCS#11 2.40 has 68 functions");

word C_GetFunctionList(const struct list **list)
{
    pthread_once(&once, load);
    if (behind == NULL)
        return FUNCTION_FAILED;
    *list = &ours;
    return OK;
}
