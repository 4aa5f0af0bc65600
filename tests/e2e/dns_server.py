"""A name server for tests: a handful of records, over UDP, in a thread."""
import socket
import struct
import threading

A, NAPTR, AAAA, SRV = 1, 35, 28, 33


def name(text):
    parts = [p.encode() for p in text.split(".") if p]
    return b"".join(bytes([len(p)]) + p for p in parts) + b"\0"


def word(text):
    return bytes([len(text)]) + text.encode()


def a(ip):
    return A, socket.inet_aton(ip)


def aaaa(ip):
    return AAAA, socket.inet_pton(socket.AF_INET6, ip)


def srv(priority, weight, port, target):
    return SRV, struct.pack(">HHH", priority, weight, port) + name(target)


def naptr(order, preference, flags, service, replacement):
    return NAPTR, (struct.pack(">HH", order, preference) + word(flags) + word(service) + word("") +
                   name(replacement))


class DnsServer:
    """`zone`: name -> list of records. `asked` has the questions in their order."""

    def __init__(self, zone, host="127.0.0.1"):
        self.zone, self.asked = zone, []
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind((host, 0))
        self.addr = "%s:%d" % self.s.getsockname()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            query, client = self.s.recvfrom(4096)
            if not query:
                return
            answer = self.answer(query)
            if answer:
                self.s.sendto(answer, client)

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack(">H", query[at + 1:at + 3])
        asked = ".".join(labels).lower()
        self.asked.append((asked, kind))
        if asked.startswith("silent."):
            return None
        known = asked in self.zone
        data = [d for k, d in self.zone.get(asked, []) if k == kind]
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, len(data), 0, 0)
        records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(d)) + d for d in data)
        return head + query[12:at + 5] + records

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.s.getsockname())
        self.thread.join()
        self.s.close()
