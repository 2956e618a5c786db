/* The first process of a container that was asked for with --init.
 *
 * It runs the container's program as its child, passes on every signal it gets, reaps whatever ends in the container,
 * and ends as the program ended: with its exit code, or 128 and the number of the signal that killed it.
 *
 * How it is called (by process.py): envp[0] is the program's path, found already; argv[1] is "--" and the program's own
 * arguments follow; its environment is envp[1...]. It starts with all signals blocked: one that comes in these first
 * microseconds waits, where the kernel would drop it (pid_namespaces(7): process 1 gets none that it does not handle).
 * The program has none blocked.
 *
 * No library, no memory but a page of code and the stack. `init.py` holds what this file compiles to, and says how.
 */

typedef long word;

#if defined(__x86_64__)
enum { WRITE = 1, SIGPROCMASK = 14, IOCTL = 16, GETPID = 39, CLONE = 56, EXECVE = 59, EXIT = 60, WAIT4 = 61,
       KILL = 62, SETPGID = 109, SIGTIMEDWAIT = 128, PRCTL = 157 };

static inline word call(word n, word a, word b, word c, word d)
{
    word result;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

/* The kernel starts a program with argc at the top of the stack. */
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n");
#elif defined(__aarch64__)
enum { WRITE = 64, SIGPROCMASK = 135, IOCTL = 29, GETPID = 172, CLONE = 220, EXECVE = 221, EXIT = 93, WAIT4 = 260,
       KILL = 129, SETPGID = 154, SIGTIMEDWAIT = 137, PRCTL = 167 };

static inline word call(word n, word a, word b, word c, word d)
{
    register word x8 __asm__("x8") = n;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl run\n");
#endif

enum { SIGCHLD = 17, SIGTTIN = 21, SIGTTOU = 22, SIG_SETMASK = 2, TIOCSPGRP = 0x5410, PR_SET_NAME = 15, WNOHANG = 1,
       ENOENT = 2 };

typedef unsigned long set; /* of signals: bit n - 1 */

static set bit(int number)
{
    return 1UL << (number - 1);
}

/* What the kernel sends for a fault of our own: ILL TRAP ABRT BUS FPE SEGV SYS. */
static set faults(void)
{
    return bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(11) | bit(31);
}

static void say(const char *text)
{
    word length = 0;
    while (text[length])
        length++;
    call(WRITE, 2, (word)text, length, 0);
}

static void become(char **argv, char **envp)
{
    /* A group of its own, in front of the terminal if there is one: then ^C is for the program, and not for us, who
     * would pass it on a second time. SIGTTOU is blocked still (tcsetpgrp(3)). */
    set none = 0;
    int own = (int)call(GETPID, 0, 0, 0, 0);
    call(SETPGID, 0, 0, 0, 0);
    call(IOCTL, 0, TIOCSPGRP, (word)&own, 0);
    call(SIGPROCMASK, SIG_SETMASK, (word)&none, 0, sizeof none);
    word error = -call(EXECVE, (word)envp[0], (word)(argv + 2), (word)(envp + 1), 0);
    say("docker-init: the program can't be executed: ");
    say(envp[0]);
    say("\n");
    call(EXIT, error == ENOENT ? 127 : 126, 0, 0, 0);
}

__attribute__((used, noreturn)) static void run(word *stack)
{
    char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
    set all = ~faults();
    call(PRCTL, PR_SET_NAME, (word)"docker-init", 0, 0);
    call(SIGPROCMASK, SIG_SETMASK, (word)&all, 0, sizeof all);
    word child = call(CLONE, SIGCHLD, 0, 0, 0);
    if (child == 0)
        become(argv, envp);
    if (child < 0) {
        say("docker-init: can't fork\n");
        call(EXIT, 128, 0, 0, 0);
    }
    for (;;) {
        word number = call(SIGTIMEDWAIT, (word)&all, 0, 0, sizeof all);
        if (number > 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
            call(KILL, child, number, 0, 0);
        int status;
        word ended;
        while ((ended = call(WAIT4, -1, (word)&status, WNOHANG, 0)) > 0)
            if (ended == child) {
                int signal = status & 127;
                call(EXIT, signal ? 128 + signal : status >> 8 & 255, 0, 0, 0);
            }
    }
}
