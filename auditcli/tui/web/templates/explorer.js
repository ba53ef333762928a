// Keys reach the explorer without a click into the page; not before the first byte, since focus is told to it too.
window.addEventListener("load", () => {
  const watching = new MutationObserver(() => {
    if (!document.body.classList.contains("-first-byte")) return;
    watching.disconnect();
    document.querySelector(".xterm-helper-textarea").focus();
  });
  watching.observe(document.body, { attributeFilter: ["class"] });
});
