// Looks for new messages every two seconds. What was folded stays folded, and
// whoever reads at the end stays at the end.
"use strict";
const box = document.getElementById("messages");
const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
const folded = () => new Set([...box.querySelectorAll("details:not([open])")].map((d) => d.parentElement.id));
let etag = "";
box.scrollTop = box.scrollHeight;

async function refresh() {
  try {
    const answer = await fetch(`/channels/${document.body.dataset.channel}/messages`, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
    if (answer.status !== 200) return;
    etag = answer.headers.get("ETag") || "";
    const end = atEnd();
    const closed = folded();
    box.innerHTML = await answer.text(); // written by the server's templates, which escape
    for (const id of closed) document.getElementById(id)?.querySelector("details")?.removeAttribute("open");
    if (end) box.scrollTop = box.scrollHeight;
  } catch {
    // The stack is gone; a reload will say so.
  }
}
setInterval(refresh, 2000);
