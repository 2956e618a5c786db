/* The last steps of a process on its way to a container's program: a list of system calls, made one after another.
 *
 * Executed in place of the program, it stands at the container's door: takes on the user and the capabilities, says that
 * all is ready, waits to be told to go on, loads the seccomp filter and executes the program. What it does is written
 * behind its code (steps.py); it decides nothing. No library, no memory but what the file brings and the stack.
 */

typedef long word;
typedef unsigned long address;

struct step {
    word number;
    word a[6];
    word flags;
    const char *what; /* told where it fails */
    word length;
};

enum { IGNORE = 1, TRY = 2, SOME = 4, LAST = 8, SILENT = 16, KEEP = 32 };

struct name {
    word error;
    const char *text;
    word length;
};

struct list {
    word count, socket, names;
    const struct name *name;
    struct step *step;
};

#define LIST ((struct list *)0x600800)

#if defined(__x86_64__)
enum { WRITE = 1, EXIT = 60 };

static word call(word n, const word *a)
{
    word result;
    register word r10 __asm__("r10") = a[3];
    register word r8 __asm__("r8") = a[4];
    register word r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\tand $-16, %rsp\n\tcall run\n");
#elif defined(__aarch64__)
enum { WRITE = 64, EXIT = 93 };

static word call(word n, const word *a)
{
    register word x8 __asm__("x8") = n;
    register word x0 __asm__("x0") = a[0];
    register word x1 __asm__("x1") = a[1];
    register word x2 __asm__("x2") = a[2];
    register word x3 __asm__("x3") = a[3];
    register word x4 __asm__("x4") = a[4];
    register word x5 __asm__("x5") = a[5];
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tbl run\n");
#endif

static void put(word fd, const void *text, word length)
{
    word a[6] = {fd, (word)text, length};
    call(WRITE, a);
}

static void end(word code)
{
    word a[6] = {code};
    call(EXIT, a);
}

/* To whoever made us, while the socket is open: the error's number and text, in one packet. Else to standard error. */
static void fail(const struct list *list, const struct step *step, word error)
{
    if (list->socket >= 0) {
        char packet[1024];
        word length = step->length < 1000 ? step->length : 1000;
        packet[0] = 'E';
        packet[1] = (char)error;
        for (word i = 0; i < length; i++)
            packet[2 + i] = step->what[i];
        put(list->socket, packet, 2 + length);
    } else {
        put(2, step->what, step->length);
        for (word i = 0; i < list->names; i++)
            if (list->name[i].error == error)
                put(2, list->name[i].text, list->name[i].length);
        put(2, "\n", 1);
    }
    end(error == 2 ? 127 : 126);
}

__attribute__((used, noreturn)) static void run(void)
{
    struct list *list = LIST;
    word last = -1, tried = 0;
    for (word i = 0; i < list->count; i++) {
        struct step *step = &list->step[i];
        if (step->flags & LAST)
            step->a[0] = last;
        word result = call(step->number, step->a);
        if (step->flags & SILENT)
            list->socket = -1;
        if (result >= 0) {
            if (step->flags & SOME && result == 0)
                end(1); /* whoever made us has gone */
            if (step->flags & KEEP)
                last = result;
            continue;
        }
        if (step->flags & IGNORE)
            continue;
        if (step->flags & TRY) { /* a program that is found but can't be executed counts for more than none */
            if (!tried || result != -2)
                tried = result;
            continue;
        }
        fail(list, step, -(tried && tried != -2 ? tried : result));
    }
    end(1);
    __builtin_unreachable();
}
