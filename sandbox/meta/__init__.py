"""What the three Meta rooms share: the app with its secret and callback, the signature, and the Graph API's manners."""
