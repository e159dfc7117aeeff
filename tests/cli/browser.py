"""Pages in a real browser without a window: browser.py BROWSER OUT PAGE... looks at each page in light and dark, as wide as a
screen and as a phone, and as it is printed. Nothing may be fetched, nothing said on the console; nothing may reach out of a
phone's width; colors follow the reader's. Screenshots and the print go to the folder OUT.

The browser is spoken to by its DevTools protocol over two pipes: numbers 3 and 4, messages ended by a zero byte."""
import base64, json, os, re, signal, subprocess, sys, tempfile, time


class Browser:
    def __init__(self, program):
        to_browser, self.out = os.pipe()
        self.back, from_browser = os.pipe()
        fds = (os.dup(to_browser), os.dup(from_browser))  # not 3 or 4 themselves, which dup2 would leave closed

        def pipes():
            a, b = os.dup(fds[0]), os.dup(fds[1])
            a, b = os.dup2(a, 20), os.dup2(b, 21)
            os.dup2(a, 3), os.dup2(b, 4)

        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                "--remote-debugging-pipe", "--user-data-dir=" + self.profile.name]
        self.process = subprocess.Popen([program] + args + ["about:blank"], preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        for fd in (to_browser, from_browser) + fds:
            os.close(fd)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Network", "Runtime", "Log":
            self.ask(domain + ".enable")

    def read(self):
        while b"\0" not in self.rest:
            more = os.read(self.back, 1 << 16)
            if not more:
                sys.exit("the browser is gone")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            got = self.read()
            if got.get("id") == self.number:
                if "error" in got:
                    sys.exit("%s: %s" % (method, got["error"]))
                return got["result"]
            self.events.append(got)

    def open(self, path):
        self.events = []
        self.ask("Page.navigate", url="file://" + os.path.abspath(path))
        name = os.path.basename(path)
        for _ in range(500):
            if self.value("location.pathname.endsWith(%s) && document.readyState === 'complete'" % json.dumps(name)):
                return
            time.sleep(0.02)
        sys.exit("%s: not loaded" % path)

    def value(self, expression):
        got = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in got:
            sys.exit("%s: %s" % (expression, got["exceptionDetails"]))
        return got["result"].get("value")

    def look(self, width, height, phone, dark, path):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        wide = self.value("document.documentElement.scrollWidth")
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        open(path, "wb").write(base64.b64decode(picture))
        return wide

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def brightness(color):
    return sum(float(v) for v in re.findall(r"[\d.]+", color)[:3]) / 3


TEXT = """(() => { const t = document.querySelector('svg text'); return [getComputedStyle(t).fill, getComputedStyle(document.body).color] })()"""
CUT = """(() => { const out = []; for (const s of document.querySelectorAll('svg')) { const b = s.getBoundingClientRect();
  for (const t of s.querySelectorAll('text')) { const r = t.getBoundingClientRect();
    if (r.left < b.left - 1 || r.right > b.right + 1 || r.top < b.top - 1 || r.bottom > b.bottom + 1) out.push(t.textContent) } } return out })()"""


def main():
    browser, bad = Browser(sys.argv[1]), []
    out = sys.argv[2]
    os.makedirs(out, exist_ok=True)
    for page in sys.argv[3:]:
        name = os.path.join(out, os.path.basename(page).rsplit(".", 1)[0])
        browser.open(page)
        for dark in False, True:
            for phone in False, True:
                width, kind = (360 if phone else 1200), ("phone" if phone else "screen") + ("-dark" if dark else "-light")
                wide = browser.look(width, 740 if phone else 900, phone, dark, "%s-%s.png" % (name, kind))
                if wide > width:
                    bad.append("%s, %s: %d pixels wide, %d are there" % (page, kind, wide, width))
                cut = browser.value(CUT)
                if cut:
                    bad.append("%s, %s: outside of its figure: %s" % (page, kind, cut))
            for color in browser.value(TEXT):
                if (brightness(color) > 127) != dark:
                    bad.append("%s: text is %s in %s" % (page, color, "dark" if dark else "light"))
        print_of = base64.b64decode(browser.ask("Page.printToPDF", printBackground=True)["data"])
        open(name + "-print.pdf", "wb").write(print_of)
        browser.ask("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        for color in browser.value(TEXT):
            if brightness(color) > 127:
                bad.append("%s: text is %s on paper" % (page, color))
        browser.ask("Emulation.setEmulatedMedia", media="")
        if not print_of.startswith(b"%PDF") or len(print_of) < 10000:
            bad.append("%s: prints as %d bytes" % (page, len(print_of)))
        own = "file://" + os.path.abspath(page)
        for e in browser.events:
            if e.get("method") == "Network.requestWillBeSent" and e["params"]["request"]["url"] != own:
                bad.append("%s fetches %s" % (page, e["params"]["request"]["url"]))
            if e.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                bad.append("%s says %s" % (page, json.dumps(e["params"])[:300]))
        if not any(e.get("method") == "Network.requestWillBeSent" for e in browser.events):
            bad.append("%s: the page itself is not seen to be fetched: the network is not watched" % page)
    browser.close()
    print("\n".join(bad) if bad else "ok")
    sys.exit(bool(bad))


main()
