"""The workerd-faas platform: Cloudflare Workers code on your own machine."""
