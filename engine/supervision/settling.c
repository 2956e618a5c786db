/* A launcher's memory as a file, and a monitor's way back to it (settling.py). Called by the interpreter, in its process:
 * no library, no data of its own, no memory but the stack, so that nothing changes while it works.
 */

typedef long word;
typedef unsigned long address;

enum { MARK, FREEZE, SETTLE };
enum { READ_WRITE = 3, PRIVATE_FIXED = 0x12, DONTNEED = 4, POPULATE_READ = 22, ENTRIES = 512, BOOST = 1 << 20 };

struct region {
    address base, length, offset; /* offset: in the file */
};

struct frozen {
    word count;
    const struct region *region;
    address page;
    word file;              /* FREEZE: the file; SETTLE: /proc/self/pagemap */
    const char *view;       /* SETTLE: the file as it was */
    unsigned char *marks;   /* one bit for each 8 bytes of the file: set where a reference count is */
    word objects;
    address *object;        /* MARK */
};

#if defined(__x86_64__)
enum { PREAD = 17, PWRITE = 18, MMAP = 9, MADVISE = 28 };

static word call(word n, word a, word b, word c, word d, word e, word f)
{
    word result;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\tjmp run\n");
#elif defined(__aarch64__)
enum { PREAD = 67, PWRITE = 68, MMAP = 222, MADVISE = 233 };

static word call(word n, word a, word b, word c, word d, word e, word f)
{
    register word x8 __asm__("x8") = n;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = e;
    register word x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tb run\n");
#endif

/* Make each object immortal, in effect, and note where its count is. */
static word mark(const struct frozen *frozen)
{
    for (word i = 0; i < frozen->objects; i++) {
        address at = frozen->object[i];
        for (word r = 0; r < frozen->count; r++) {
            const struct region *region = &frozen->region[r];
            if (at - region->base >= region->length)
                continue;
            address bit = (region->offset + at - region->base) / 8;
            frozen->marks[bit / 8] |= 1 << bit % 8;
            if (*(int *)at >= 0) /* else it is immortal by itself (Python 3.12) */
                *(word *)at += BOOST;
            break;
        }
    }
    return 0;
}

static word freeze(const struct frozen *frozen)
{
    for (word r = 0; r < frozen->count; r++) {
        const struct region *region = &frozen->region[r];
        for (address done = 0; done < region->length;) {
            word got = call(PWRITE, frozen->file, region->base + done, region->length - done, region->offset + done, 0, 0);
            if (got <= 0)
                return got ? got : -5;
            done += got;
        }
        word got = call(MMAP, region->base, region->length, READ_WRITE, PRIVATE_FIXED, frozen->file, region->offset);
        if (got < 0 && got > -4096)
            return got;
        call(MADVISE, region->base, region->length, POPULATE_READ, 0, 0, 0); /* for forks to find */
    }
    return 0;
}

static int differs(const word *mine, const word *theirs, const unsigned char *marks, address words)
{
    for (address i = 0; i < words; i++)
        if (mine[i] != theirs[i] && !(marks[i / 8] >> i % 8 & 1))
            return 1;
    return 0;
}

/* Give up each page of our own whose contents are the file's but for reference counts. Returns how many. */
static word settle(const struct frozen *frozen)
{
    address entries[ENTRIES], page = frozen->page;
    word given = 0;
    for (word r = 0; r < frozen->count; r++) {
        const struct region *region = &frozen->region[r];
        for (address at = 0; at < region->length; at += ENTRIES * page) {
            word got = call(PREAD, frozen->file, (word)entries, sizeof entries, (region->base + at) / page * 8, 0, 0);
            if (got <= 0)
                return got;
            for (address i = 0; i < (address)got / 8 && at + i * page < region->length; i++) {
                if (entries[i] >> 63 == 0 || entries[i] >> 61 & 1) /* not there, or the file's */
                    continue;
                address offset = region->offset + at + i * page;
                word *mine = (word *)(region->base + at + i * page);
                if (differs(mine, (const word *)(frozen->view + offset), frozen->marks + offset / 64, page / 8))
                    continue;
                call(MADVISE, (word)mine, page, DONTNEED, 0, 0, 0);
                given++;
            }
        }
    }
    return given;
}

__attribute__((used)) word run(word what, const struct frozen *frozen)
{
    return what == MARK ? mark(frozen) : what == FREEZE ? freeze(frozen) : settle(frozen);
}
