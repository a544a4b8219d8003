// Questions to /v1. Where a token is needed the person is asked for one, once.

import { byID, openDialog, setText } from "./dom.js";

const stored = "relay-token";
let asking = null; // the answer to the open question for a token

// APIError is an answer that is no success: what happened, and what to do.
export class APIError extends Error {
  constructor(status, body) {
    super(body?.message || `HTTP ${status}`);
    this.status = status;
    this.remedy = body?.details?.find((detail) => detail.metadata)?.metadata.remedy ?? "";
  }

  get text() {
    return this.remedy ? `${this.message}. ${this.remedy}.` : this.message;
  }
}

export const explain = (error) => error.text ?? `The stats service cannot be reached (${error.message}).`;

// open asks and returns the response; APIError when it is no success.
export async function open(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(stored);
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.ok) return response;

    const error = new APIError(response.status, await response.json().catch(() => null));
    const mayHelp = response.status === 401 || response.status === 403;
    if (!mayHelp || token !== sessionStorage.getItem(stored) || !(await askForToken(error))) {
      if (mayHelp && token !== sessionStorage.getItem(stored)) continue;
      throw error;
    }
  }
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== "" && value !== null && value !== undefined) query.append(name, value);

  const text = query.toString();

  return (await open(text ? `${path}?${text}` : path)).json();
}

export const post = async (path, body) =>
  (await open(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();

export const flowPath = (flow, rest) => `/v1/flows/${encodeURIComponent(flow)}/${rest}`;

let refused = false; // the person did not give one; asked again after a reload

function askForToken(error) {
  if (refused && error.status === 401) return false;

  asking ??= new Promise((resolve) => {
    const dialog = byID("token");
    setText(byID("token-why"), error.text);
    byID("token-value").value = "";
    byID("token-cancel").onclick = () => dialog.close();

    let given = false;

    byID("token-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(stored, byID("token-value").value.trim());
      given = true;
      dialog.close();
    };
    openDialog(dialog, () => {
      refused = !given;
      asking = null;
      resolve(given);
    });
  });

  return asking;
}
